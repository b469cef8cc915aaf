import {
  type Backend,
  type BinaryFunction,
  type CustomOp,
  formatShape,
  type ReduceFunction,
  type ReduceOptions,
  runCustom,
  type Shape,
  ShapeError,
  type Tensor,
  type UnaryFunction,
  ValueError,
} from '@lazy-attention/core';
import { DIRECT, type DirectOp } from '../direct.ts';
import { type Rule, rule } from '../rule.ts';
import { binaryGradient, sumTo } from './binary.ts';
import { reduceGradient } from './reduce.ts';
import { UNARY_DERIVATIVES } from './unary.ts';

/** fn(x); the derivatives are in a table of their own. */
export const unary = rule(
  (_fn: UnaryFunction, x: Tensor) => ({ x }),
  (ops, fn, x) => ops.unary(fn, x),
  ({ ops, nodes, hold }, y, [fn, x]) => {
    const entry = UNARY_DERIVATIVES[fn];
    if (entry === null) return () => {};
    const [reads, derivative] = entry;
    const heldX = reads === 'x' || reads === 'both' ? hold(x) : undefined;
    const heldY = reads === 'y' || reads === 'both' ? hold(y) : undefined;
    return (dy, into) =>
      into.add(
        nodes.x,
        ops.scope(() => derivative(ops, dy, (heldX ?? heldY) as Tensor, heldY as Tensor)),
      );
  },
);

/** fn(a, b), broadcast. */
export const binary = rule(
  (_fn: BinaryFunction, a: Tensor, b: Tensor) => ({ a, b }),
  (ops, fn, a, b) => ops.binary(fn, a, b),
  (recording, y, [fn, a, b]) => binaryGradient(recording, fn, a, b, y),
);

/** fn over axes; argmax is an index and has no gradient. */
export const reduce: Rule<[fn: ReduceFunction, x: Tensor, options?: ReduceOptions], Tensor> = {
  inputs: (_fn, x) => ({ x }),
  plain: (ops, fn, x, options) => ops.reduce(fn, x, options),
  record(recording, fn, x, options = {}) {
    const result = recording.ops.reduce(fn, x, options);
    if (fn === 'argmax') return { result, output: undefined, backward: () => {} };
    return { result, output: result, backward: reduceGradient(recording, fn, x, result, options) };
  },
};

/** Axes in another order. */
export const permute = rule(
  (x: Tensor, _axes: readonly number[]) => ({ x }),
  (ops, x, axes) => ops.permute(x, axes),
  ({ ops, nodes }, y, [, axes]) => {
    const rank = y.shape.length;
    const back = Array.from({ length: rank }, (_, axis) => axes.findIndex((from) => (from + rank) % rank === axis));
    return (dy, into) => into.add(nodes.x, ops.permute(dy, back), false);
  },
);

/** x repeated over a shape. */
export const broadcast = rule(
  (x: Tensor, _shape: Shape) => ({ x }),
  (ops, x, shape) => ops.broadcast(x, shape),
  ({ ops, nodes }, _y, [{ shape }]) =>
    (dy, into) =>
      into.add(nodes.x, sumTo(ops, dy, shape), false),
);

/** a where the mask is not 0, else b. The mask has no gradient. */
export const where = rule(
  (mask: Tensor, a: Tensor, b: Tensor) => ({ mask, a, b }),
  (ops, mask, a, b) => ops.where(mask, a, b),
  ({ ops, nodes, hold }, _y, [mask, a, b]) => {
    const held = hold(mask);
    const [aShape, bShape] = [a.shape, b.shape];
    return (dy, into) => {
      const taken = (from: Tensor, shape: Shape) => ops.scope(() => sumTo(ops, ops.binary('keep', from, dy), shape));
      if (nodes.a !== undefined) into.add(nodes.a, taken(held, aShape));
      if (nodes.b === undefined) return;
      into.add(
        nodes.b,
        ops.scope(() => taken(ops.binary('equal', held, ops.zeros([], held.dtype)), bShape)),
      );
    };
  },
);

/** One behind the other. */
export const concat: Rule<[tensors: readonly Tensor[], axis: number], Tensor> = rule(
  (tensors: readonly Tensor[], _axis: number) =>
    Object.fromEntries(tensors.map((x, i) => [`tensors[${i}]`, x])) as Record<string, Tensor>,
  (ops, tensors, axis) => ops.concat(tensors, axis),
  ({ ops, nodes }, y, [tensors, axis]) => {
    const at = axis < 0 ? axis + y.shape.length : axis;
    const lengths = tensors.map(({ shape }) => shape[at]);
    return (dy, into) => {
      let start = 0;
      for (const [i, length] of lengths.entries()) {
        const node = nodes[`tensors[${i}]`];
        if (node !== undefined) into.add(node, ops.slice(dy, at, start, start + length));
        start += length;
      }
    };
  },
);

/** More entries before and after. */
export const pad = rule(
  (x: Tensor, _axis: number, _before: number, _after: number, _value?: number) => ({ x }),
  (ops, x, axis, before, after, value) => ops.pad(x, axis, before, after, value),
  ({ ops, nodes }, _y, [{ shape }, axis, before]) => {
    const at = axis < 0 ? axis + shape.length : axis;
    return (dy, into) => into.add(nodes.x, ops.slice(dy, at, before, before + shape[at]));
  },
);

/** Entries along an axis: the gradient of a row that was taken twice is the sum. */
export const gather = rule(
  (x: Tensor, indices: Tensor, _axis: number) => ({ x, indices }),
  (ops, x, indices, axis) => ops.gather(x, indices, axis),
  ({ ops, nodes, hold }, _y, [{ shape }, indices, axis]) => {
    const held = hold(indices);
    const at = axis < 0 ? axis + shape.length : axis;
    return (dy, into) =>
      into.add(
        nodes.x,
        ops.scope(() => gatherGradient(ops, dy, held, shape, at)),
        false,
      );
  },
);

function gatherGradient(ops: Backend, dy: Tensor, indices: Tensor, shape: Shape, axis: number): Tensor {
  const count = (sizes: Shape) => sizes.reduce((product, size) => product * size, 1);
  const [outer, inner] = [count(shape.slice(0, axis)), count(shape.slice(axis + 1))];
  const front = ops.permute(ops.reshape(dy, [outer, indices.size, inner]), [1, 0, 2]);
  const rows = ops.reshape(front, [indices.size, outer * inner]);
  const table = ops.embeddingGrad(rows, ops.reshape(indices, [indices.size]), shape[axis]);
  return ops.reshape(ops.permute(ops.reshape(table, [shape[axis], outer, inner]), [1, 0, 2]), shape);
}

/** An op of one's own: its `backward` is called in the sweep. */
export const custom: Rule<[op: CustomOp], Tensor> = {
  inputs: ({ inputs }) => Object.fromEntries(inputs.map((x, i) => [`inputs[${i}]`, x])),
  plain: (ops, op) => ops.custom(op),
  record(recording, op) {
    const { ops, nodes, hold } = recording;
    const { output, saved } = runCustom(ops, op);
    const inputs = op.inputs.map(hold);
    const direct = (op as DirectOp)[DIRECT];
    if (direct !== undefined) {
      return { result: output, output, held: saved, backward: direct(recording, inputs, saved) };
    }
    const held = hold(output);
    return {
      result: output,
      output,
      held: saved,
      backward: (dy, into) => {
        const grads = ops.scope(() => {
          const found = op.backward(ops, dy, { inputs, output: held, saved });
          // Views, because a gradient may be dy itself, or one tensor for two inputs.
          return checkedGradients(found, inputs).map((grad) => grad && ops.reshape(grad, grad.shape));
        });
        for (const [i, grad] of grads.entries()) into.add(nodes[`inputs[${i}]`], grad, false);
      },
    };
  },
};

function checkedGradients(grads: unknown, inputs: readonly Tensor[]): readonly (Tensor | undefined)[] {
  if (!Array.isArray(grads) || grads.length !== inputs.length) {
    throw new ValueError(
      `custom: backward returned ${Array.isArray(grads) ? `${grads.length} gradients` : typeof grads}; expected an array of ${inputs.length}, undefined where an input has none`,
    );
  }
  for (const [i, grad] of grads.entries()) {
    if (grad === undefined) continue;
    const { shape, dtype } = inputs[i];
    if (grad?.shape === undefined || formatShape(grad.shape) !== formatShape(shape) || grad.dtype !== dtype) {
      const found = grad?.shape === undefined ? String(grad) : `${grad.dtype} ${formatShape(grad.shape)}`;
      throw new ShapeError(
        `custom: backward's gradient of inputs[${i}] is ${found}; expected that of the input, ${dtype} ${formatShape(shape)}`,
      );
    }
  }
  return grads;
}
