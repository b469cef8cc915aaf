import { REDUCE_FUNCTIONS, type ReduceFunction, type ReduceOptions } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Generator, HostTensor, Problem, Shape } from '../problem.ts';
import { normal } from '../random.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

/** One entry of a row, or the place of one, is taken as it is. */
const EXACT: ReadonlySet<ReduceFunction> = new Set(['max', 'min', 'argmax'] as const);
const exactness = (fn: ReduceFunction) => (EXACT.has(fn) ? { loosen: 0 } : {});

/** Sums of these do not cancel, and long ones stay in the range of f16. The largest entries repeat. */
const entry = (g: Generator) => Math.round((0.2 + 0.2 * normal(g.random)) * 64) / 64;

const reducing = (fn: ReduceFunction, x: HostTensor, options: ReduceOptions): Problem => ({
  inputs: { x },
  forward: (ops, t) => ({ y: ops.reduce(fn, t.x, options) }),
  // Few entries may cancel after all.
  floor: EXACT.has(fn) ? 0 : 0.1,
  ...exactness(fn),
});

/** A random shape, some of its axes, and whether they stay. */
const problems = () =>
  fc
    .tuple(
      fc.array(upTo(6), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 31 }),
      fc.boolean(),
      fc.boolean(),
    )
    .map(([shape, bits, keepDims, fromEnd]) => {
      const chosen = shape.flatMap((_, axis) => ((bits >> axis) & 1 ? [axis] : []));
      const axes = (chosen.length > 0 ? chosen : [0]).map((axis) => (fromEnd ? axis - shape.length : axis));
      return { shape, options: { axes, keepDims } };
    });

/** Where the axis lies, and how long it is. */
const PLACES: Readonly<Record<string, { readonly shape: Shape; readonly options: ReduceOptions }>> = {
  a_single_element: { shape: [], options: {} },
  all_axes: { shape: [5, 7, 3], options: {} },
  the_last_axis: { shape: [11, 67], options: { axes: [-1] } },
  the_first_axis: { shape: [67, 11], options: { axes: [0] } },
  a_middle_axis: { shape: [5, 33, 9], options: { axes: [1], keepDims: true } },
  an_axis_of_one: { shape: [4, 1, 6], options: { axes: [1] } },
  two_neighbours: { shape: [4, 5, 6, 3], options: { axes: [2, 1] } },
  two_axes_apart: { shape: [4, 5, 6, 3], options: { axes: [0, 2] } },
  axes_around_one: { shape: [6, 1, 5], options: { axes: [0, -1], keepDims: true } },
  first_and_last_axis: { shape: [9, 4, 11], options: { axes: [2, 0] } },
  many_short_rows: { shape: [1031, 3], options: { axes: [1] } },
  a_long_row: { shape: [2, 4099], options: { axes: [1] } },
  a_long_column: { shape: [4099, 2], options: { axes: [0] } },
  a_wide_column: { shape: [3, 1031], options: { axes: [0] } },
};

/** Rows of numbers and of what is none. */
const ROWS = [
  [1, Number.NaN, 2],
  [Number.NaN, Number.POSITIVE_INFINITY, Number.NaN],
  [Number.POSITIVE_INFINITY, 1, 0],
  [Number.NEGATIVE_INFINITY, 1, 0],
  [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0],
  [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
  [Number.NEGATIVE_INFINITY, Number.NaN, Number.NEGATIVE_INFINITY],
  [-3, -1, -2],
  [2, 2, 2],
  [0, -0, 0],
];

const rows = (fn: ReduceFunction, g: Generator, axis: number): Problem => {
  const shape = axis === 1 ? [ROWS.length, 3] : [3, ROWS.length];
  const at = (i: number) =>
    axis === 1 ? ROWS[Math.floor(i / 3)][i % 3] : ROWS[i % ROWS.length][Math.floor(i / ROWS.length)];
  return {
    inputs: { x: g.operandOf(shape, at) },
    forward: (ops, x) => ({ y: ops.reduce(fn, x.x, { axes: [axis] }) }),
    allowNaN: true,
    ...exactness(fn),
  };
};

/** reduce: every function on every place of the axes. */
export const reductions: readonly Scenario[] = REDUCE_FUNCTIONS.flatMap((fn): Scenario[] => {
  const options = { differentiable: false };
  const make = (g: Generator, { shape, options }: (typeof PLACES)[string]) =>
    reducing(
      fn,
      g.operandOf(shape, () => entry(g)),
      options,
    );
  const offset = (by: number) => (g: Generator) =>
    reducing(
      fn,
      g.operandOf([9, 37], () => by + Math.round(normal(g.random) * 8) / 8),
      { axes: [1] },
    );
  const long = (g: Generator, size: string) =>
    reducing(
      fn,
      g.operandOf([size === 'full' ? 70001 : 9001], () => entry(g)),
      {},
    );
  return [
    randomised('reduce', 10, problems, make, { ...options, name: `${fn}_of_random_shapes` }),
    ...Object.entries(PLACES).map(([name, place]) =>
      edge('reduce', `${fn}_over_${name}`, (g) => make(g, place), options),
    ),
    edge('reduce', `${fn}_over_many_elements`, long, options),
    edge('reduce', `${fn}_of_negative_numbers`, offset(-50), options),
    // exp of any of these overflows: the largest has to come out first.
    edge('reduce', `${fn}_of_large_numbers`, offset(1000), options),
    edge('reduce', `${fn}_of_special_rows`, (g) => rows(fn, g, 1), options),
    edge('reduce', `${fn}_of_special_columns`, (g) => rows(fn, g, 0), options),
  ];
});
