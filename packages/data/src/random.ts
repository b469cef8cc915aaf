import { uniformOf } from '@lazy-attention/core';
import { IntegerHash } from './hash.ts';

export { shuffledOrder } from '@lazy-attention/core';

/** Uniform doubles in [0, 1) that depend on the keys alone: core's `uniformOf`, its state a hash of the keys. */
export function randomStream(...keys: number[]): () => number {
  const hash = new IntegerHash();
  for (const key of keys) hash.addInteger(key);
  return uniformOf(hash.words());
}
