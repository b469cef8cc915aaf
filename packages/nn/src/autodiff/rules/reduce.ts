import type { Backend, ReduceFunction, ReduceOptions, Shape, Tensor } from '@lazy-attention/core';
import type { Backward, Recording } from '../rule.ts';

/** dy and y with the reduced axes left in as 1, and x; the result has x's shape, or broadcasts to it. */
type Derivative = (ops: Backend, dy: Tensor, x: Tensor, y: Tensor, count: number) => Tensor;

/** Largest or smallest entries share dy equally. */
const winners: Derivative = (ops, dy, x, y) => {
  const wins = ops.binary('equal', x, y);
  const axes = x.shape.flatMap((size, axis) => (y.shape[axis] === size ? [] : [axis]));
  const shared = axes.length === 0 ? dy : ops.binary('div', dy, ops.reduce('sum', wins, { axes, keepDims: true }));
  return ops.binary('mul', wins, shared);
};

/** One line for each function. */
const DERIVATIVES: Readonly<Record<Exclude<ReduceFunction, 'argmax'>, Derivative>> = {
  sum: (_ops, dy) => dy,
  mean: (ops, dy, _x, _y, count) => ops.scale(dy, 1 / count),
  max: winners,
  min: winners,
  logSumExp: (ops, dy, x, y) => ops.binary('mul', dy, ops.unary('exp', ops.binary('sub', x, y))),
};

/** The gradient of a reduction to y. */
export function reduceGradient(
  { ops, nodes, hold }: Recording,
  fn: Exclude<ReduceFunction, 'argmax'>,
  x: Tensor,
  y: Tensor,
  { axes }: ReduceOptions,
): Backward {
  const { shape } = x;
  const kept = keptShape(shape, axes);
  const count = x.size / Math.max(1, y.size);
  const reads = fn !== 'sum' && fn !== 'mean';
  const held = reads ? { x: hold(x), y: hold(y) } : undefined;
  return (dy, into) =>
    into.add(
      nodes.x,
      ops.scope(() => {
        const [dyKept, yKept] = [ops.reshape(dy, kept), held && ops.reshape(held.y, kept)];
        const grad = DERIVATIVES[fn](ops, dyKept, held?.x as Tensor, yKept as Tensor, count);
        return ops.broadcast(grad, shape);
      }),
      false,
    );
}

/** `shape` with 1 in place of the reduced axes. */
function keptShape(shape: Shape, axes: readonly number[] | undefined): Shape {
  const reduced = new Set(axes?.map((axis) => (axis < 0 ? axis + shape.length : axis)));
  return shape.map((size, axis) => (axes === undefined || reduced.has(axis) ? 1 : size));
}
