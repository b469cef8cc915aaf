import { type Backend, type CustomOp, runCustom, type Tensor } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Generator, Problem, Shape, Tensors } from '../problem.ts';
import { integer } from '../random.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

/** Data that is only moved arrives bit for bit. */
const EXACT = { loosen: 0 };
const options = { differentiable: false };

/** The same move on numbers and on ids; the ids are then used, so the host must know where they went. */
const moving = (g: Generator, shape: Shape, move: (ops: Backend, x: Tensor) => Tensor): Problem => ({
  inputs: { x: g.operand(shape), ids: g.indices(shape, (i) => (i * 7) % 13), table: g.operand([13, 2]) },
  forward: (ops, x) => {
    const ids = move(ops, x.ids);
    return { y: move(ops, x.x), ids, rows: ops.embedding(x.table, ids) };
  },
  ...EXACT,
});

const permuting = (g: Generator, shape: Shape, axes: readonly number[]) =>
  moving(g, shape, (ops, x) => ops.permute(x, axes));

/** A random shape and an order of its axes. */
const orders = () =>
  fc.array(upTo(5), { maxLength: 5 }).chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      axes: fc.shuffledSubarray(
        shape.map((_, i) => i),
        { minLength: shape.length },
      ),
    }),
  );

const PERMUTES: Readonly<Record<string, { readonly shape: Shape; readonly axes: readonly number[] }>> = {
  a_scalar: { shape: [], axes: [] },
  nothing_moves: { shape: [3, 4, 5], axes: [0, 1, 2] },
  a_matrix: { shape: [33, 65], axes: [1, 0] },
  a_long_matrix: { shape: [3, 1031], axes: [-1, -2] },
  heads_before_length: { shape: [2, 19, 3, 8], axes: [0, 2, 1, 3] },
  all_axes_turned: { shape: [2, 3, 4, 5, 3, 2], axes: [5, 4, 3, 2, 1, 0] },
  eight_axes_turned: { shape: [2, 3, 2, 2, 3, 2, 2, 2], axes: [7, 6, 5, 4, 3, 2, 1, 0] },
  axes_of_one: { shape: [1, 5, 1, 4, 1], axes: [4, 3, 0, 1, 2] },
};

const broadcasting = (g: Generator, from: Shape, shape: Shape) => moving(g, from, (ops, x) => ops.broadcast(x, shape));

/** A random shape, and one that repeats it. */
const repeats = () =>
  fc.tuple(fc.array(upTo(5), { maxLength: 5 }), fc.nat(5), fc.nat(31)).map(([shape, drop, ones]) => ({
    from: shape.map((size, axis) => ((ones >> axis) & 1 ? 1 : size)).slice(Math.min(drop, shape.length)),
    shape,
  }));

const BROADCASTS: Readonly<Record<string, { readonly from: Shape; readonly shape: Shape }>> = {
  nothing_repeats: { from: [3, 4], shape: [3, 4] },
  a_scalar: { from: [], shape: [5, 33] },
  a_scalar_to_one: { from: [], shape: [1, 1] },
  rows: { from: [65], shape: [17, 65] },
  columns: { from: [17, 1], shape: [17, 65] },
  alternating_axes: { from: [2, 1, 3, 1], shape: [2, 4, 3, 5] },
};

const picking = (g: Generator, mask: Shape, a: Shape, b: Shape): Problem => ({
  inputs: { mask: g.operandOf(mask, () => integer(g.random, -1, 1)), a: g.operand(a), b: g.operand(b) },
  forward: (ops, x) => ({ y: ops.where(x.mask, x.a, x.b) }),
  ...EXACT,
});

/** What is not taken is NaN and Infinity, and must not be seen; a mask that is NaN is not 0. */
const pickingNumbers = (g: Generator): Problem => ({
  inputs: {
    mask: g.operandOf([5], (i) => [1, 0, 1, 0, Number.NaN][i]),
    a: g.operandOf([5], (i) => [7, Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, 8][i]),
    b: g.operandOf([5], (i) => [Number.NaN, 9, Number.POSITIVE_INFINITY, Number.NaN, Number.NaN][i]),
  },
  forward: (ops, x) => ({ y: ops.where(x.mask, x.a, x.b) }),
  allowNaN: true,
  ...EXACT,
});

const picks = () => fc.tuple(fc.array(upTo(6), { maxLength: 3 }), fc.nat(7), fc.nat(7), fc.nat(7));

const joining = (g: Generator, pieces: readonly Shape[], axis: number): Problem => ({
  inputs: {
    ...Object.fromEntries(pieces.map((shape, i) => [`x${i}`, g.operand(shape)])),
    ...Object.fromEntries(pieces.map((shape, i) => [`ids${i}`, g.indices(shape, (j) => (i + j) % 5)])),
    table: g.operand([5, 3]),
  },
  forward: (ops, x: Tensors) => {
    const ids = ops.concat(
      pieces.map((_, i) => x[`ids${i}`]),
      axis,
    );
    return {
      y: ops.concat(
        pieces.map((_, i) => x[`x${i}`]),
        axis,
      ),
      ids,
      rows: ops.embedding(x.table, ids),
    };
  },
  ...EXACT,
});

const padding = (g: Generator, shape: Shape, axis: number, before: number, after: number, value?: number): Problem => ({
  inputs: { x: g.operand(shape), ids: g.indices(shape, (i) => i) },
  forward: (ops, x) => ({
    y: ops.pad(x.x, axis, before, after, value),
    ids: ops.pad(x.ids, axis, before, after, -1),
  }),
  ...EXACT,
});

const gathering = (g: Generator, shape: Shape, indices: Shape, axis: number): Problem => ({
  inputs: {
    x: g.operand(shape),
    indices: g.indices(indices, () => integer(g.random, 0, (shape.at(axis) as number) - 1)),
  },
  forward: (ops, x) => ({ y: ops.gather(x.x, x.indices, axis) }),
  ...EXACT,
});

/** An op of one's own from others, and its gradient: x * scale(x, 3) = 3 x^2. */
const square = (g: Generator, shape: Shape): Problem => {
  const op = (x: Tensor): CustomOp => ({
    inputs: [x],
    forward: (ops) => {
      const tripled = ops.scale(x, 3);
      return { output: ops.mul(x, tripled), saved: [tripled] };
    },
    backward: (ops, dy, { saved: [tripled] }) => [ops.scale(ops.mul(dy, tripled), 2)],
  });
  return {
    inputs: { x: g.operand(shape) },
    forward: (ops, x) => ({ y: ops.custom(op(x.x)) }),
    backward: (ops, x, dy) => {
      const { inputs } = op(x.x);
      const { output, saved } = runCustom(ops, op(x.x));
      const [dx] = op(x.x).backward(ops, dy, { inputs, output, saved });
      return { x: dx as Tensor };
    },
    dy: g.operand(shape),
  };
};

const parts = () => fc.tuple(fc.array(upTo(6), { minLength: 1, maxLength: 4 }), fc.nat(), fc.nat(4), fc.nat(4));

/** permute, broadcast, where, concat, pad, gather, and an op of one's own. */
export const rearrangements: readonly Scenario[] = [
  randomised('permute', 20, orders, (g, { shape, axes }) => permuting(g, shape, axes), options),
  ...Object.entries(PERMUTES).map(([name, { shape, axes }]) =>
    edge('permute', name, (g) => permuting(g, shape, axes), options),
  ),
  randomised('broadcast', 20, repeats, (g, { from, shape }) => broadcasting(g, from, shape), options),
  ...Object.entries(BROADCASTS).map(([name, { from, shape }]) =>
    edge('broadcast', name, (g) => broadcasting(g, from, shape), options),
  ),
  randomised(
    'where',
    10,
    picks,
    (g, [shape, ...ones]) => {
      const [mask, a, b] = ones.map((bits) => shape.map((size, axis) => ((bits >> axis) & 1 ? 1 : size)));
      return picking(g, mask, a, b);
    },
    options,
  ),
  edge('where', 'a_mask_of_keys', (g) => picking(g, [9, 33], [2, 3, 9, 33], []), options),
  edge('where', 'what_is_not_taken_is_no_number', pickingNumbers, options),
  randomised(
    'concat',
    10,
    parts,
    (g, [shape, axis, second, third]) => {
      const at = axis % shape.length;
      return joining(g, [shape, shape.with(at, second + 1), shape.with(at, third + 1)], at);
    },
    options,
  ),
  edge('concat', 'one_tensor', (g) => joining(g, [[3, 2]], 0), options),
  edge(
    'concat',
    'last_axis',
    (g) =>
      joining(
        g,
        [
          [3, 2],
          [3, 33],
          [3, 1],
        ],
        -1,
      ),
    options,
  ),
  randomised(
    'pad',
    10,
    parts,
    (g, [shape, axis, before, after]) => padding(g, shape, axis % shape.length, before, after),
    options,
  ),
  edge('pad', 'with_a_value', (g) => padding(g, [3, 5], 1, 2, 4, 7), options),
  edge('pad', 'with_infinity', (g) => padding(g, [3, 5], 0, 1, 0, Number.NEGATIVE_INFINITY), options),
  edge('pad', 'with_nothing', (g) => padding(g, [3, 5], 0, 0, 0), options),
  randomised(
    'gather',
    10,
    parts,
    (g, [shape, axis, rows, columns]) =>
      gathering(g, shape, rows % 2 === 0 ? [columns + 1] : [rows, columns + 1], axis % shape.length),
    options,
  ),
  edge('gather', 'first_axis', (g) => gathering(g, [7, 5, 3], [11], 0), options),
  edge('gather', 'middle_axis', (g) => gathering(g, [2, 9, 33], [4, 3], 1), options),
  edge('gather', 'last_axis', (g) => gathering(g, [5, 65], [130], -1), options),
  edge('gather', 'one_entry', (g) => gathering(g, [5, 6], [], 1), options),
  edge('custom', 'keeps_what_its_gradient_needs', (g) => square(g, [3, 5])),
  edge(
    'custom',
    'may_return_its_input',
    (g) => ({
      inputs: { x: g.operand([3]) },
      forward: (ops, x) => ({ y: ops.custom({ inputs: [x.x], forward: () => x.x, backward: (_ops, dy) => [dy] }) }),
      ...EXACT,
    }),
    options,
  ),
];
