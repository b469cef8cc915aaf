import {
  type Backend,
  type DType,
  type MatmulOptions,
  type Shape,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { asRows } from '../gradients.ts';
import { type Backward, type Recording, type Rule, rule } from '../rule.ts';

/** The same elements in another shape. */
export const reshape = rule(
  (x: Tensor, _shape: Shape) => ({ x }),
  (ops, x, shape) => ops.reshape(x, shape),
  ({ nodes }, _y, [{ shape }]) =>
    (dy, into, exclusive) =>
      into.addView(nodes.x, dy, exclusive, shape),
);

/** To another floating type. */
export const cast = rule(
  (x: Tensor, _dtype: DType) => ({ x }),
  (ops, x, dtype) => ops.cast(x, dtype),
  ({ ops, nodes }, _y, [x, dtype]) => {
    const original = x.dtype;
    // A cast to the same type is a view.
    return (dy, into, exclusive) => into.add(nodes.x, ops.castGrad(dy, original), exclusive || original !== dtype);
  },
);

/** Part of an axis. */
export const slice = rule(
  (x: Tensor, _axis: number, _start: number, _end: number) => ({ x }),
  (ops, x, axis, start, end) => ops.slice(x, axis, start, end),
  ({ ops, nodes }, _y, [{ shape }, axis, start]) =>
    (dy, into) =>
      into.add(nodes.x, ops.sliceGrad(dy, shape, axis, start)),
);

/** Of one shape. */
export const add = rule(
  (a: Tensor, b: Tensor) => ({ a, b }),
  (ops, a, b) => ops.add(a, b),
  ({ nodes }) => {
    const only = nodes.a === undefined || nodes.b === undefined;
    return (dy, into, exclusive) => {
      into.addView(nodes.a, dy, exclusive && only);
      into.addView(nodes.b, dy, exclusive && only);
    };
  },
);

/** Of one shape. */
export const mul = rule(
  (a: Tensor, b: Tensor) => ({ a, b }),
  (ops, a, b) => ops.mul(a, b),
  ({ ops, nodes, holdFor }, _y, [a, b]) => {
    const [heldB, heldA] = [holdFor(b, 'a'), holdFor(a, 'b')];
    return (dy, into) => {
      if (heldB !== undefined) into.add(nodes.a, ops.mul(dy, heldB));
      if (heldA !== undefined) into.add(nodes.b, ops.mul(dy, heldA));
    };
  },
);

/** By a number. */
export const scale = rule(
  (x: Tensor, _factor: number) => ({ x }),
  (ops, x, factor) => ops.scale(x, factor),
  ({ ops, nodes }, _y, [, factor]) =>
    (dy, into) =>
      into.add(nodes.x, ops.scaleGrad(dy, factor)),
);

/** Of all elements. */
export const sum = rule(
  (x: Tensor) => ({ x }),
  (ops, x) => ops.sum(x),
  ({ ops, nodes }, _y, [{ shape, dtype }]) =>
    (dy, into) =>
      into.add(nodes.x, ops.sumGrad(dy, shape, dtype)),
);

/**
 * As on a backend, but `accumulate` is left as it was and the sum is a new tensor: an earlier op may need the old
 * values. So that nobody takes the old tensor for the sum, it is refused from here on.
 */
export const matmul: Rule<[a: Tensor, b: Tensor, options?: MatmulOptions], Tensor> = {
  always: true,
  inputs: (a, b, { accumulate } = {}) => ({ a, b, accumulate }),
  plain: (ops, a, b, options = {}) =>
    options.accumulate === undefined ? ops.matmul(a, b, options) : productInto(ops, a, b, options, options.accumulate),
  record(recording, a, b, options = {}) {
    const result = matmul.plain(recording.ops, a, b, options);
    return { result, output: result, backward: matmulGradient(recording, a, b, options), refused: refusal(options) };
  },
};

function productInto(ops: Backend, a: Tensor, b: Tensor, options: MatmulOptions, accumulate: Tensor): Tensor {
  if (accumulate === a || accumulate === b) {
    throw new ValueError('matmul: accumulate shares memory with an operand; copy it first');
  }
  const copy = ops.scale(accumulate, 1);
  ops.matmul(a, b, { ...options, accumulate: copy });
  return copy;
}

function matmulGradient(recording: Recording, a: Tensor, b: Tensor, options: MatmulOptions): Backward {
  const { ops, nodes, holdFor } = recording;
  const [heldB, heldA] = [holdFor(b, 'a'), holdFor(a, 'b')];
  const { transposeA = false, transposeB = false } = options;
  const [aShape, bShape] = [a.shape, b.shape];
  return (dy, into, exclusive) => {
    // A b of two axes serves all leading entries of a, which then count as rows.
    const folded = bShape.length === 2 && aShape.length > 2;
    const dy2 = folded ? asRows(ops, dy) : dy;
    if (heldB !== undefined) {
      if (transposeA) into.addProduct(nodes.a, heldB, dy2, { transposeA: transposeB, transposeB: true }, aShape);
      else into.addProduct(nodes.a, dy2, heldB, { transposeB: !transposeB }, aShape);
    }
    if (heldA !== undefined) {
      const a2 = folded ? asRows(ops, heldA) : heldA;
      if (transposeB) into.addProduct(nodes.b, dy2, a2, { transposeA: true, transposeB: transposeA }, bShape);
      else into.addProduct(nodes.b, a2, dy2, { transposeA: !transposeA }, bShape);
      if (folded) a2.dispose();
    }
    if (folded) dy2.dispose();
    into.addView(nodes.accumulate, dy, exclusive);
  };
}

function refusal({ accumulate }: MatmulOptions): (readonly [Tensor, string])[] {
  if (accumulate === undefined) return [];
  return [[accumulate, 'was given to matmul as accumulate; use the tensor that matmul returned']];
}
