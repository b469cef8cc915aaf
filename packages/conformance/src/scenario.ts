import type { FloatDType } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Op, Size } from './case.ts';
import { Generator, type Problem } from './problem.ts';
import { integer, named } from './random.ts';

/** A named source of problems of one op, one for an edge case and several for random shapes. */
export interface Scenario {
  readonly op: Op;
  readonly name: string;
  /** Types it makes sense for; all by default. */
  readonly dtypes?: readonly FloatDType[];
  /** False where the op has no gradient, or this problem none. */
  readonly differentiable: boolean;
  /** Runs `check` on each problem; rejects with the first failure, for random shapes shrunk to the smallest. */
  each(dtype: FloatDType, size: Size, check: (problem: Problem) => Promise<void>): Promise<void>;
}

export interface ScenarioOptions {
  readonly dtypes?: readonly FloatDType[];
  readonly differentiable?: boolean;
  /** Of random shapes; default 'random_shapes'. */
  readonly name?: string;
}

type Make<T extends unknown[]> = (g: Generator, ...rest: T) => Problem | Promise<Problem>;

/** An edge case with fixed shapes. */
export function edge(op: Op, name: string, make: Make<[Size]>, options: ScenarioOptions = {}): Scenario {
  return {
    op,
    name,
    differentiable: true,
    ...options,
    each: async (dtype, size, check) => check(await make(new Generator(dtype, `${op} ${name}`), size)),
  };
}

/** Random shapes from a fixed seed. `runs` is how many in the full size; the small one takes a fifth. */
export function randomised<S>(
  op: Op,
  runs: number,
  shapes: (size: Size) => fc.Arbitrary<S>,
  make: Make<[S]>,
  options: ScenarioOptions = {},
): Scenario {
  const { name = 'random_shapes' } = options;
  return {
    op,
    differentiable: true,
    ...options,
    name,
    each: async (dtype, size, check) => {
      const property = fc.asyncProperty(shapes(size), fc.nat(), async (shape, seed) => {
        await check(await make(new Generator(dtype, `${op} ${name}`, seed), shape));
      });
      const numRuns = size === 'full' ? runs : Math.ceil(runs / 5);
      // Looking for the smallest shape that fails takes dozens of runs, too many where each is slow.
      const endOnFailure = size === 'small';
      await fc.assert(property, { seed: integer(named(`${op} ${name}`), 0, 2 ** 31 - 1), numRuns, endOnFailure });
    },
  };
}

/** Shorthand for sizes in arbitraries. */
export function upTo(max: number): fc.Arbitrary<number> {
  return fc.integer({ min: 1, max });
}
