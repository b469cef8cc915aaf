import type { AdamWProblem, AdamWUpdate, MatmulProblem, SliceView } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Handle } from './handle.ts';
import { multiplyTransposed, type ProductStyle } from './multiply.ts';
import { slice as takeBlock } from './slice.ts';

/** Most entries that one f32 accumulator takes. */
const SUM_WIDTH = 1024;

/** Sum of all elements, shape []. In stages, since one f32 accumulator over a million entries loses digits. */
export function sumAll(x: tf.Tensor): tf.Scalar {
  let rest = tf.reshape<tf.Rank.R1>(x, [x.size]);
  while (rest.size > SUM_WIDTH) {
    const padded = tf.pad1d(rest, [0, -rest.size & (SUM_WIDTH - 1)]);
    rest = tf.sum<tf.Tensor1D>(tf.reshape(padded, [padded.size / SUM_WIDTH, SUM_WIDTH]), 1);
  }
  return tf.sum<tf.Scalar>(rest);
}

/** Sum over all elements of all tensors of x^2, shape []. */
export function sumSquares(tensors: readonly tf.Tensor[]): tf.Scalar {
  return tensors.map((x) => sumAll(tf.square(x))).reduce((total, part) => tf.add(total, part));
}

/** The `count` rows of the view from `start` on, [outer, count, inner]. */
export function slice(x: tf.Tensor, { outer, length, inner, start, count }: SliceView): tf.Tensor {
  return takeBlock(tf.reshape(x, [outer, length, inner]), [0, start, 0], [outer, count, inner]);
}

/** `target` with `source` in the place of the view's entries, as [outer, length, inner]. */
export function replaced(target: tf.Tensor, source: tf.Tensor, view: SliceView): tf.Tensor {
  const { outer, length, inner, start, count } = view;
  const middle = tf.reshape(source, [outer, count, inner]);
  const end = start + count;
  const parts = [
    ...(start > 0 ? [slice(target, { ...view, start: 0, count: start })] : []),
    middle,
    ...(end < length ? [slice(target, { ...view, start: end, count: length - end })] : []),
  ];
  return parts.length === 1 ? middle : tf.concat(parts, 1);
}

/** The contract's `matmul` without `accumulate`: [batch, m, n]. */
export function matmul(style: ProductStyle, a: tf.Tensor, b: tf.Tensor, problem: MatmulProblem): tf.Tensor3D {
  const { batch, m, n, k, transposeA, transposeB } = problem;
  const a3 = tf.reshape<tf.Rank.R3>(a, transposeA ? [batch, k, m] : [batch, m, k]);
  const b3 = tf.reshape<tf.Rank.R3>(b, transposeB ? [batch, n, k] : [batch, k, n]);
  return multiplyTransposed(style, a3, b3, transposeA, transposeB);
}

/** The factor that brings the global norm down to maxNorm, as in the contract of `adamw`; shape []. */
export function clipFactor(normSquared: tf.Tensor, maxNorm: number): tf.Tensor {
  const factor = tf.div(maxNorm, tf.add(tf.sqrt(normSquared), 1e-6));
  // Not tf.minimum, which on wasm makes a number of NaN.
  return tf.where(tf.greater(factor, 1), tf.scalar(1), factor);
}

/** One parameter's step of the contract's `adamw`; `clip` is the gradient's factor. */
export function adamwStep(
  { param, grad, m, v, weightDecay }: AdamWUpdate<Handle>,
  problem: AdamWProblem<Handle>,
  clip: tf.Tensor | null,
): { param: tf.Tensor; m: tf.Tensor; v: tf.Tensor } {
  const { learningRate, beta1, beta2, epsilon, correction1, correction2 } = problem;
  const raw = tf.reshape(grad.buffer.tensor, param.buffer.tensor.shape);
  const g = clip === null ? raw : tf.mul(raw, clip);
  const like = (x: tf.Tensor) => tf.reshape(x, param.buffer.tensor.shape);
  const mNext = tf.add(tf.mul(like(m.buffer.tensor), beta1), tf.mul(g, 1 - beta1));
  const vNext = tf.add(tf.mul(like(v.buffer.tensor), beta2), tf.mul(tf.square(g), 1 - beta2));
  const decayed = tf.mul(param.buffer.tensor, 1 - learningRate * weightDecay);
  const root = tf.add(tf.sqrt(tf.mul(vNext, 1 / correction2)), epsilon);
  return {
    param: tf.sub(decayed, tf.div(tf.mul(mNext, learningRate / correction1), root)),
    m: mNext,
    v: vNext,
  };
}
