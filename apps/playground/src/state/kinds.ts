import kinds from 'virtual:kinds';

/** A kind of attention by its name, or undefined. */
export function kindOf(name: unknown): (typeof kinds)[number] | undefined {
  return kinds.find((kind) => kind.name === name);
}

/** All of them, in the order of nn. */
export { kinds };
