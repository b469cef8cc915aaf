/** What needs Node's file system; everything else is in the main entry, which runs in browsers too. */
export { type OpenModelOptions, openModel } from './node/open.ts';
export { type WriteOptions, writeModel } from './node/write.ts';
