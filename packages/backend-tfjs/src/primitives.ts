import type {
  BinaryFunction,
  BroadcastView,
  RearrangeView,
  ReduceFunction,
  ReduceView,
  UnaryFunction,
} from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { sumAll } from './arithmetic.ts';
import { hasHostKernels, runHostKernel } from './host-kernel.ts';
import { BINARY, hasHostBinary, REARRANGE, REDUCE } from './host-primitives.ts';
import { relu } from './relu.ts';
import { forEachRun } from './runs.ts';

/** Every function of the contract's `unary`, with NaN for NaN. */
const UNARY: Readonly<Record<UnaryFunction, (x: tf.Tensor) => tf.Tensor>> = {
  neg: tf.neg,
  exp: tf.exp,
  log: tf.log,
  sqrt: tf.sqrt,
  rsqrt: tf.rsqrt,
  abs: tf.abs,
  // tf.sign of NaN is 0; tf.step of NaN is NaN.
  sign: (x) => tf.sub(tf.step(x), tf.step(tf.neg(x))),
  sin: tf.sin,
  cos: tf.cos,
  tanh: tf.tanh,
  sigmoid: tf.sigmoid,
  softplus: (x) => tf.add(relu(x), tf.log(tf.add(tf.exp(tf.neg(tf.abs(x))), 1))),
  relu,
  silu: (x) => tf.mul(x, tf.sigmoid(x)),
  gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  reciprocal: tf.reciprocal,
  square: tf.square,
};

/** y = fn(x). */
export function unary(x: tf.Tensor, fn: UnaryFunction): tf.Tensor {
  const y = UNARY[fn](x);
  // The engines of a GPU may take a NaN for a number, as in sigmoid.
  return hasHostKernels() ? y : tf.where(tf.isNaN(x), tf.scalar(Number.NaN), y);
}

/** `fn` of operands that tfjs broadcasts. Host kernels stand in for those that wasm has wrong or slow. */
const BROADCAST: Readonly<Record<BinaryFunction, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor>> = {
  add: tf.add,
  sub: tf.sub,
  mul: tf.mul,
  div: tf.div,
  pow: (a, b) => orNaN(a, b, tf.where(oneWhatever(a, b), tf.scalar(1), tf.pow(a, b))),
  max: (a, b) => orNaN(a, b, tf.maximum(a, b)),
  min: (a, b) => orNaN(a, b, tf.minimum(a, b)),
  less: (a, b) => tf.cast(tf.less(a, b), 'float32'),
  lessEqual: (a, b) => tf.cast(tf.lessEqual(a, b), 'float32'),
  equal: (a, b) => tf.cast(tf.equal(a, b), 'float32'),
  keep: (a, b) => tf.where(tf.notEqual(a, 0), b, tf.scalar(0)),
};

/** `y`, or NaN where either operand is: engines differ in that. */
function orNaN(a: tf.Tensor, b: tf.Tensor, y: tf.Tensor): tf.Tensor {
  return tf.where(tf.logicalOr(tf.isNaN(a), tf.isNaN(b)), tf.scalar(Number.NaN), y);
}

/** Where a^b is 1 though some engines say NaN: pow(1, b), pow(-1, Infinity) and pow(a, 0). */
function oneWhatever(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const unit = tf.logicalAnd(tf.equal(a, -1), tf.isInf(b));
  return tf.logicalOr(tf.logicalOr(tf.equal(a, 1), tf.equal(b, 0)), unit);
}

/** Most axes that the broadcasts and transposes of every engine take. */
const MOST_AXES = 4;

/** out = fn(a, b) over the view, `a` and `b` in the order of their memory. */
export function binary(a: tf.Tensor, b: tf.Tensor, fn: BinaryFunction, view: BroadcastView): tf.Tensor {
  const { shape, sizes, stridesA, stridesB } = view;
  // Of one shape: the engine's own op.
  if ((fn === 'add' || fn === 'mul') && sizes.length === 1 && stridesA[0] === 1 && stridesB[0] === 1) {
    return BROADCAST[fn](a, b);
  }
  if (hasHostKernels() && hasHostBinary(fn)) {
    return runHostKernel(BINARY, [a, b], { fn, sizes, stridesA, stridesB }, shape);
  }
  const [shapeA, shapeB] = [broadcastShape(a, sizes, stridesA), broadcastShape(b, sizes, stridesB)];
  const spread = (x: tf.Tensor, strides: readonly number[]) =>
    rearrange(x, { shape: [tf.util.sizeFromShape([...sizes])], sizes, strides });
  const result =
    shapeA !== null && shapeB !== null
      ? BROADCAST[fn](tf.reshape(a, shapeA), tf.reshape(b, shapeB))
      : BROADCAST[fn](spread(a, stridesA), spread(b, stridesB));
  return tf.reshape(result, [...shape]);
}

/** The shape in which x broadcasts to `sizes`; null where it must be spread out first. */
function broadcastShape(x: tf.Tensor, sizes: readonly number[], strides: readonly number[]): number[] | null {
  const shape = sizes.map((size, axis) => (strides[axis] === 0 ? 1 : size));
  const fits = sizes.length <= MOST_AXES && tf.util.sizeFromShape(shape) === x.size && isDense(shape, strides);
  return fits ? shape : null;
}

/** True where `strides` are those of a dense tensor of `shape`; those of axes of size 1 do not matter. */
function isDense(shape: readonly number[], strides: readonly number[]): boolean {
  let dense = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== dense) return false;
    dense *= shape[axis];
  }
  return true;
}

/** x seen as [outer, length, inner], reduced over the middle; [outer, inner], int32 for argmax. */
export function reduce(x: tf.Tensor, fn: ReduceFunction, { outer, length, inner }: ReduceView): tf.Tensor {
  if (fn === 'sum' && outer * inner === 1) return sumAll(x);
  if (hasHostKernels()) {
    const dtype = fn === 'argmax' ? 'int32' : 'float32';
    return runHostKernel(REDUCE, [x], { fn, outer, length, inner }, [outer, inner], dtype);
  }
  if (fn === 'mean' && outer * inner === 1) return tf.div(sumAll(x), length);
  // No transpose where the axis is the last already.
  const rows =
    inner === 1
      ? tf.reshape<tf.Rank.R3>(x, [outer, 1, length])
      : tf.transpose(tf.reshape<tf.Rank.R3>(x, [outer, length, inner]), [0, 2, 1]);
  return REDUCE_LAST[fn](rows);
}

/**
 * The reductions of [outer, inner, length] over the last axis for engines without host kernels: the extremes over
 * another axis are wrong on the webgpu engine.
 */
const REDUCE_LAST: Readonly<Record<ReduceFunction, (x: tf.Tensor3D) => tf.Tensor>> = {
  sum: (x) => tf.sum(x, -1),
  mean: (x) => tf.mean(x, -1),
  max: (x) => orAnyNaN(x, tf.max(x, -1)),
  min: (x) => orAnyNaN(x, tf.min(x, -1)),
  logSumExp(x) {
    const max = tf.max(x, -1, true);
    // An infinite maximum less itself would be NaN; exp of 0 and of infinities gives the right sum.
    const shift = tf.where(tf.isFinite(max), max, tf.scalar(0));
    const sum = tf.sum(tf.exp(tf.sub(x, shift)), -1);
    // The maximum alone gives 1, so 0 is of nothing but -Infinity; a shader's logarithm of 0 is a number.
    const log = tf.where(tf.greater(sum, 0.5), tf.log(sum), tf.scalar(Number.NEGATIVE_INFINITY));
    return orAnyNaN(x, tf.add(log, tf.squeeze(shift, [-1])));
  },
  argmax(x) {
    const nan = firstPlace(tf.isNaN(x));
    const largest = firstPlace(tf.equal(x, tf.max(x, -1, true)));
    const length = tf.scalar(x.shape[2], 'int32');
    const found = tf.where(tf.less(nan, length), nan, largest);
    // Where nothing equals the maximum, all are -Infinity, and the engine's maximum is a number.
    return tf.where(tf.less(found, length), found, tf.scalar(0, 'int32'));
  },
};

/** The first place in each row that is true, or the row's length. The webgpu engine's argMax gives another of equal entries. */
function firstPlace(which: tf.Tensor): tf.Tensor {
  const length = which.shape[2] as number;
  return tf.min(tf.where<tf.Tensor>(which, tf.range(0, length, 1, 'int32'), tf.scalar(length, 'int32')), -1);
}

/** `y` [outer, inner], or NaN where a row has one: engines differ in that. */
function orAnyNaN(x: tf.Tensor3D, y: tf.Tensor): tf.Tensor {
  const missing = tf.max(tf.cast(tf.isNaN(x), 'float32'), -1);
  return tf.where(tf.greater(missing, 0), tf.scalar(Number.NaN), y);
}

/** out[i0, i1, ...] = x[sum(i * strides)]: permute and broadcast. */
export function rearrange(x: tf.Tensor, { shape, sizes, strides }: RearrangeView): tf.Tensor {
  if (hasHostKernels()) return runHostKernel(REARRANGE, [x], { sizes, strides }, shape);
  // Axes that move through memory, the slowest first: x is dense in this order.
  const moving = [...sizes.keys()].filter((axis) => strides[axis] !== 0).sort((a, b) => strides[b] - strides[a]);
  const stored = moving.map((axis) => sizes[axis]);
  const steps = moving.map((axis) => strides[axis]);
  if (sizes.length > MOST_AXES || tf.util.sizeFromShape(stored) !== x.size || !isDense(stored, steps)) {
    return gathered(x, { shape, sizes, strides });
  }
  const order = [...moving].sort((a, b) => a - b).map((axis) => moving.indexOf(axis));
  const turned = tf.transpose(tf.reshape(x, stored), order);
  const kept = sizes.map((size, axis) => (strides[axis] === 0 ? 1 : size));
  return tf.reshape(tf.broadcastTo(tf.reshape(turned, kept), [...sizes]), [...shape]);
}

/** The same for views of many axes, entry by entry. */
function gathered(x: tf.Tensor, { shape, sizes, strides }: RearrangeView): tf.Tensor {
  const places = new Int32Array(tf.util.sizeFromShape([...sizes]));
  const last = sizes.length - 1;
  forEachRun(sizes, [{ offset: 0, strides }], (at, [from]) => {
    for (let i = 0; i < sizes[last]; i++) places[at + i] = from + i * strides[last];
  });
  return tf.reshape(tf.gather(tf.reshape(x, [x.size]), tf.tensor1d(places, 'int32')), [...shape]);
}
