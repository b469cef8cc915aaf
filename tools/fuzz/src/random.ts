import { uniform } from '@lazy-attention/nn';

/** Uniform numbers in [0, 1). */
export type Random = () => number;

/** The numbers of one case: a case is repeated by its seed and its index alone. */
export function randomOf(seed: number, target: string, index: number): Random {
  return uniform(seed, `${target} ${index}`);
}

/** An integer from 0 to `end` - 1; 0 when `end` is 0. */
export function upTo(random: Random, end: number): number {
  return Math.floor(random() * end);
}

/** One of `values`, which must not be empty. */
export function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[upTo(random, values.length)] as T;
}
