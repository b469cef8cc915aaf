import { normal as normals, uniform } from '@lazy-attention/core';

/** Uniform in [0, 1), the same on every machine: a stream of core's generator. */
export type Random = () => number;

/** A stream of its own for each name, so that adding a test does not change the data of the others. */
export function named(name: string, seed = 0): Random {
  return uniform(seed, name);
}

/** Standard normal. */
export function normal(random: Random): number {
  return normals(1, 1, random)[0];
}

/** An integer in [low, high]. */
export function integer(random: Random, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}
