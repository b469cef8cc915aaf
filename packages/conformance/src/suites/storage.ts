import type { FloatDType } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Generator, Problem, Shape } from '../problem.ts';
import { integer } from '../random.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

/** Data that is only moved must arrive bit for bit. */
const EXACT = { loosen: 0 };
const constant = { differentiable: false };

const roundTrip = (g: Generator, shape: Shape): Problem => ({
  inputs: { x: g.operand(shape), ids: g.indices(shape, () => integer(g.random, -(2 ** 31), 2 ** 31 - 1)) },
  forward: (ops, x) => ({ x: ops.reshape(x.x, x.x.shape), ids: ops.reshape(x.ids, [x.ids.size]) }),
  ...EXACT,
});

const fill =
  (shape: Shape, value: number): ((g: Generator) => Problem) =>
  () => ({
    inputs: {},
    forward: (ops) => {
      const dtypes = [...ops.dtypes].filter((dtype) => dtype !== 'i32');
      return {
        ...Object.fromEntries(dtypes.map((dtype) => [`full_${dtype}`, ops.full(shape, value, dtype)])),
        zeros: ops.zeros(shape),
        ids: ops.full(shape, -7, 'i32'),
      };
    },
    partial: true,
    ...EXACT,
  });

const shapes = () => fc.array(upTo(7), { minLength: 1, maxLength: 4 });

interface Part {
  readonly shape: Shape;
  readonly axis: number;
  readonly start: number;
  readonly count: number;
}

/** A random part of one axis of a random shape. */
const parts = () =>
  fc.tuple(shapes(), fc.nat(), fc.nat(), fc.nat()).map(([shape, a, b, c]) => {
    const axis = a % shape.length;
    const start = b % shape[axis];
    return { shape, axis, start, count: 1 + (c % (shape[axis] - start)) };
  });

const partShape = ({ shape, axis, count }: Part) => shape.map((size, i) => (i === axis ? count : size));

const slicing = (g: Generator, part: Part): Problem => {
  const { shape, axis, start, count } = part;
  return {
    inputs: { x: g.operand(shape), ids: g.indices(shape, (i) => i - 5) },
    forward: (ops, x) => ({
      y: ops.slice(x.x, axis, start, start + count),
      ids: ops.slice(x.ids, axis - shape.length, start, start + count),
    }),
    backward: (ops, _x, dy) => ({ x: ops.sliceGrad(dy, shape, axis, start) }),
    dy: g.operand(partShape(part)),
    ...EXACT,
  };
};

const copying = (g: Generator, part: Part): Problem => ({
  inputs: {
    target: g.operand(part.shape),
    source: g.operand(partShape(part)),
    ids: g.indices(part.shape, (i) => i),
    newIds: g.indices(partShape(part), (i) => -i),
  },
  forward: (ops, x) => {
    ops.copyInto(x.target, x.source, part.axis, part.start);
    ops.copyInto(x.ids, x.newIds, part.axis, part.start);
    return { target: x.target, ids: x.ids };
  },
  ...EXACT,
});

const FLOATS: readonly FloatDType[] = ['f32', 'f64', 'bf16', 'f16'];

/** To every type the backend has. The oracle casts to all; only what the backend has is compared. */
const casting = (g: Generator, values: (i: number) => number, shape: Shape): Problem => ({
  inputs: { x: g.operandOf(shape, values) },
  forward: (ops, x) => {
    const dtypes = FLOATS.filter((dtype) => ops.dtypes.has(dtype));
    return Object.fromEntries(dtypes.map((dtype) => [dtype, ops.cast(x.x, dtype)]));
  },
  backward: (ops, x, dy) => ({ x: ops.castGrad(dy, x.x.dtype) }),
  dy: g.operand(shape),
  partial: true,
  ...EXACT,
});

export const storage: readonly Scenario[] = [
  randomised('tensor', 15, shapes, roundTrip, constant),
  edge('tensor', 'single_element', (g) => roundTrip(g, []), constant),
  edge('tensor', 'odd_lengths', (g) => roundTrip(g, [3, 1, 4097]), constant),
  // Most problems round on the host, so that the oracle sees the same numbers; here the backend does it.
  edge(
    'tensor',
    'rounds_to_the_type',
    (g) => {
      const raw = Float64Array.from({ length: 129 }, () => g.random() - 0.5);
      return { inputs: {}, forward: (ops) => ({ x: ops.tensor(raw, [129], g.dtype) }), ...EXACT };
    },
    constant,
  ),
  edge('full', 'values', fill([3, 5, 7], 1.5), constant),
  edge('full', 'rounded_values', fill([11], 1 / 3), constant),
  edge('full', 'single_element', fill([], -2), constant),
  edge('full', 'infinity', fill([9], Number.NEGATIVE_INFINITY), constant),
  randomised('slice', 20, parts, slicing),
  edge('slice', 'whole_axis', (g) => slicing(g, { shape: [4, 3, 5], axis: 1, start: 0, count: 3 })),
  edge('slice', 'last_entry', (g) => slicing(g, { shape: [4, 3, 5], axis: 2, start: 4, count: 1 })),
  edge('slice', 'long_rows', (g) => slicing(g, { shape: [2, 9, 1025], axis: 1, start: 3, count: 5 })),
  randomised('copyInto', 20, parts, copying, constant),
  edge('copyInto', 'cache_rows', (g) => copying(g, { shape: [2, 12, 2, 8], axis: 1, start: 7, count: 3 }), constant),
  edge('copyInto', 'whole_tensor', (g) => copying(g, { shape: [5], axis: 0, start: 0, count: 5 }), constant),
  randomised('cast', 10, shapes, (g, shape) => {
    const { values } = g.operand(shape);
    return casting(g, (i) => values[i], shape);
  }),
  // Half-way between neighbours of bf16 (8 bits) and of f16 (11 bits): to the even one.
  edge('cast', 'ties_to_even', (g) =>
    casting(g, (i) => (i % 2 === 0 ? 1 + (2 * i + 1) / 256 : 1 + (2 * i + 1) / 2048), [64]),
  ),
  edge('cast', 'large_values', (g) => casting(g, (i) => [65504, 65519.9, 65520, 1e6, -1e30, 3e38][i], [6])),
  edge('cast', 'zeros_keep_their_sign', (g) => casting(g, (i) => (i === 0 ? 0 : -0), [2])),
];
