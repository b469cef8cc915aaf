/** What needs Node's file system: items of benchmarks and requests in files. */
export { type FoundItems, findItems, findOptionalItems, readItems } from './read/items.ts';
