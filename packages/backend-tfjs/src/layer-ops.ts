import type { CrossEntropyProblem, Rotation } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { sumAll } from './arithmetic.ts';
import type { Engine } from './engine.ts';
import { keepRows } from './mask.ts';
import { type ProductStyle, sumRows } from './multiply.ts';
import { slice } from './slice.ts';

/** 1 / sqrt(mean(x^2) + epsilon) of each row of x [rows, width]: [rows, 1]. */
function inverseRms(x: tf.Tensor2D, epsilon: number): tf.Tensor {
  return tf.div(1, tf.sqrt(tf.add(tf.mul(tf.sum(tf.square(x), 1, true), 1 / x.shape[1]), epsilon)));
}

/** x / sqrt(mean(x^2) + epsilon) * weight, rows at a time. */
export function rmsNorm(x: tf.Tensor2D, weight: tf.Tensor, epsilon: number): tf.Tensor {
  return tf.mul(tf.mul(x, inverseRms(x, epsilon)), weight);
}

/** With r the inverse root and n = x r: dx = r (dy w - n mean(dy w n)), dw = sum over rows of dy n. */
export function rmsNormGrad(
  style: ProductStyle,
  dy: tf.Tensor2D,
  x: tf.Tensor2D,
  weight: tf.Tensor,
  epsilon: number,
): { dx: tf.Tensor; dweight: tf.Tensor } {
  const [rows, width] = x.shape;
  const r = inverseRms(x, epsilon);
  const normed = tf.mul(x, r);
  const weighted = tf.mul(dy, weight);
  const mean = tf.mul(tf.sum(tf.mul(weighted, normed), 1, true), 1 / width);
  const dx = tf.mul(r, tf.sub(weighted, tf.mul(normed, mean)));
  const dweight = tf.reshape(sumRows(style, tf.reshape(tf.mul(dy, normed), [1, rows, width])), [width]);
  return { dx, dweight };
}

/** Cosines and signed sines of spec §RoPE for a [1, L, 1, D] broadcast, angles in double precision on the host. */
export function rotationTables(length: number, headDim: number, { base, offset, inverse }: Rotation): tf.Tensor4D[] {
  const half = headDim / 2;
  const cosines = new Float32Array(length * headDim);
  const sines = new Float32Array(length * headDim);
  for (let d = 0; d < half; d++) {
    const frequency = base ** ((-2 * d) / headDim);
    for (let r = 0; r < length; r++) {
      const angle = (offset + r) * frequency * (inverse ? -1 : 1);
      const low = r * headDim + d;
      cosines[low] = Math.cos(angle);
      cosines[low + half] = cosines[low];
      sines[low] = -Math.sin(angle);
      sines[low + half] = -sines[low];
    }
  }
  return [cosines, sines].map((table) => tf.tensor4d(table, [1, length, 1, headDim]));
}

/** x cos + (second half, first half) sin: the pairs (x[d], x[d + D/2]) rotated. */
export function rotate(x: tf.Tensor4D, [cosines, sines]: readonly tf.Tensor4D[]): tf.Tensor4D {
  const [batch, length, heads, headDim] = x.shape;
  const half = headDim / 2;
  const part = (from: number) => slice(x, [0, 0, 0, from], [batch, length, heads, half]);
  return tf.add(tf.mul(x, cosines), tf.mul(tf.concat([part(half), part(0)], 3), sines));
}

/** gate * sigmoid(gate) * up. */
export function swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up);
}

/** d/dgate of gate sigmoid(gate) is sigmoid (1 + gate (1 - sigmoid)). */
export function swigluGrad(dy: tf.Tensor, gate: tf.Tensor, up: tf.Tensor): { dgate: tf.Tensor; dup: tf.Tensor } {
  const sigmoid = tf.sigmoid(gate);
  const slope = tf.mul(sigmoid, tf.add(tf.mul(gate, tf.sub(1, sigmoid)), 1));
  return { dgate: tf.mul(tf.mul(dy, up), slope), dup: tf.mul(dy, tf.mul(gate, sigmoid)) };
}

/** Rows of weight [V, C] by id: [ids, C]. */
export function embedding(weight: tf.Tensor2D, ids: tf.Tensor): tf.Tensor {
  return tf.gather(weight, tf.reshape(ids, [ids.size]));
}

/** Rows of dy summed by id, in the order of the ids. */
export function embeddingGrad(
  { atomicScatter }: Pick<Engine, 'atomicScatter'>,
  dy: tf.Tensor,
  ids: tf.Tensor,
  vocabulary: number,
): tf.Tensor {
  const width = dy.shape[dy.shape.length - 1];
  const rows = tf.reshape<tf.Rank.R2>(dy, [ids.size, width]);
  if (atomicScatter) return sumByProduct(rows, ids, vocabulary);
  // ScatterND sums duplicates; wasm has no UnsortedSegmentSum.
  return tf.scatterND(tf.reshape(ids, [ids.size, 1]), rows, [vocabulary, width]);
}

/** Elements of one selection matrix of `sumByProduct`. */
const SELECTION_SIZE = 2 ** 22;

/** The same as a product with 0/1 matrices, a part of the vocabulary at a time: more work, in a fixed order. */
function sumByProduct(rows: tf.Tensor2D, ids: tf.Tensor, vocabulary: number): tf.Tensor {
  const count = Math.max(1, Math.floor(SELECTION_SIZE / ids.size));
  const column = tf.cast(tf.reshape(ids, [1, ids.size]), 'float32');
  const parts: tf.Tensor2D[] = [];
  for (let from = 0; from < vocabulary; from += count) {
    const part = tf.reshape(tf.range(from, Math.min(vocabulary, from + count)), [-1, 1]);
    parts.push(tf.matMul(tf.cast(tf.equal(part, column), 'float32') as tf.Tensor2D, rows));
  }
  return tf.concat(parts, 0);
}

/** True for rows that count, and targets that are safe to index with. */
function validTargets(targets: tf.Tensor1D, ignoreIndex: number): { counted: tf.Tensor1D; safe: tf.Tensor1D } {
  const counted = tf.notEqual(targets, tf.scalar(ignoreIndex, 'int32')) as tf.Tensor1D;
  return { counted, safe: tf.where(counted, targets, tf.zerosLike(targets)) };
}

/** Columns whose exponentials are summed in one go: in a longer sum of f32 the small ones would be lost beside a large one. */
const SUMMED_AT_ONCE = 512;

/**
 * log sum exp of each row. lse = max(x) - log(max(softmax(x))), because the largest probability is exp(max - lse): softmax is
 * the one exponential that is fast on wasm. Of a long row, the lse of its parts' lse.
 */
function logSumExp(logits: tf.Tensor2D): tf.Tensor1D {
  const [rows, columns] = logits.shape;
  const top = tf.max<tf.Tensor1D>(logits, 1);
  if (columns <= SUMMED_AT_ONCE) return tf.sub(top, tf.log(tf.max(tf.softmax(logits), 1)));
  const whole = columns - (columns % SUMMED_AT_ONCE);
  const below = tf.sub<tf.Tensor2D>(logits, tf.expandDims(top, 1));
  const parts = tf.reshape<tf.Rank.R2>(tf.slice(below, [0, 0], [rows, whole]), [-1, SUMMED_AT_ONCE]);
  const sums = [tf.reshape<tf.Rank.R2>(partialSums(parts), [rows, -1])];
  if (whole < columns) sums.push(tf.expandDims(partialSums(tf.slice(below, [0, whole], [rows, columns - whole])), 1));
  return tf.add(top, logSumExp(tf.concat(sums, 1)));
}

/** log sum exp of parts of rows: -Infinity where a part has nothing else, which is not the row's end. */
function partialSums(parts: tf.Tensor2D): tf.Tensor1D {
  const top = tf.max<tf.Tensor1D>(parts, 1);
  return tf.where(tf.equal(top, Number.NEGATIVE_INFINITY), top, logSumExp(parts));
}

export function crossEntropy(
  logits: tf.Tensor2D,
  targets: tf.Tensor1D,
  { ignoreIndex, count }: CrossEntropyProblem,
): { loss: tf.Tensor; lse: tf.Tensor } {
  const { counted, safe } = validTargets(targets, ignoreIndex);
  const lse = logSumExp(logits);
  const positions = tf.stack([tf.range(0, targets.size, 1, 'int32'), safe], 1);
  const chosen = tf.gatherND(logits, positions as tf.Tensor2D);
  // A select, since an ignored row's loss may be infinite.
  const losses = tf.where(counted, tf.sub(lse, chosen), tf.scalar(0));
  return { loss: tf.mul(sumAll(losses), 1 / count), lse };
}

/** softmax - onehot, times dLoss / count; exactly 0 in ignored rows, whatever their logits are. */
export function crossEntropyGrad(
  dLoss: tf.Tensor,
  logits: tf.Tensor2D,
  targets: tf.Tensor1D,
  { ignoreIndex, count }: CrossEntropyProblem,
): tf.Tensor {
  const { counted, safe } = validTargets(targets, ignoreIndex);
  // Asked for float32 directly, wasm's OneHot writes the bits of integers.
  const [, vocabulary] = logits.shape;
  const chosen = vocabulary === 1 ? tf.ones(logits.shape) : tf.cast(tf.oneHot(safe, vocabulary), 'float32');
  const difference = tf.sub<tf.Tensor2D>(tf.softmax(logits), chosen);
  return keepRows(tf.mul(difference, tf.mul(dLoss, 1 / count)), counted);
}
