import * as tf from '@tensorflow/tfjs-core';
import { slice } from './slice.ts';

/**
 * How an engine wants its products. `batched` multiplies stacks of matrices well. `plain` is wasm: only an untransposed
 * product of two single matrices reaches XNNPACK; a transpose flag or a stack runs a scalar loop 13 to 60 times slower.
 */
export type ProductStyle = 'batched' | 'plain';

/** a [G, m, k] times b [G, k, n]: [G, m, n]. */
export function multiply(style: ProductStyle, a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D {
  const [groups, m] = a.shape;
  const n = b.shape[2];
  if (style === 'batched') return tf.matMul(a, b);
  if (groups === 1) return tf.reshape(tf.matMul(matrixOf(a, 0), packable(matrixOf(b, 0))), [1, m, n]);
  const products: tf.Tensor3D[] = [];
  for (let g = 0; g < groups; g++) products.push(tf.reshape(tf.matMul(matrixOf(a, g), matrixOf(b, g)), [1, m, n]));
  return tf.concat(products, 0);
}

/** Columns that a right operand had when wasm first packed its data. */
const packedColumns = new WeakMap<object, number>();

/**
 * wasm packs the right operand once per data and reuses that whatever shape the data is seen in later: a product with
 * the same data as a matrix of another shape writes out of bounds. Then it gets data of its own.
 */
function packable(b: tf.Tensor2D): tf.Tensor2D {
  const columns = packedColumns.get(b.dataId);
  if (columns === undefined) packedColumns.set(b.dataId, b.shape[1]);
  return columns === undefined || columns === b.shape[1] ? b : tf.add(b, 0);
}

/**
 * The product with transposes: the stored a is [G, m, k] ([G, k, m] when transposeA), b is [G, k, n] ([G, n, k] when
 * transposeB). For `plain` it transposes whatever is least: the operands, or (with the product of the transposes, taken
 * the other way round) the result, so that a single row times a weight matrix moves nothing at all.
 */
export function multiplyTransposed(
  style: ProductStyle,
  a: tf.Tensor3D,
  b: tf.Tensor3D,
  transposeA: boolean,
  transposeB: boolean,
): tf.Tensor3D {
  if (style === 'batched') return tf.matMul(a, b, transposeA, transposeB);
  const direct = (transposeA ? moved(a) : 0) + (transposeB ? moved(b) : 0);
  const m = a.shape[transposeA ? 2 : 1];
  const n = b.shape[transposeB ? 1 : 2];
  const resultMoved = m === 1 || n === 1 ? 0 : a.shape[0] * m * n;
  const swapped = (transposeA ? 0 : moved(a)) + (transposeB ? 0 : moved(b)) + resultMoved;
  if (direct <= swapped) {
    return multiply(style, transposeA ? transposed(a) : a, transposeB ? transposed(b) : b);
  }
  return transposed(multiply(style, transposeB ? b : transposed(b), transposeA ? a : transposed(a)));
}

/** Swaps the last two axes of [G, m, n]. */
export function transposed(x: tf.Tensor3D): tf.Tensor3D {
  const [groups, m, n] = x.shape;
  return m === 1 || n === 1 ? tf.reshape(x, [groups, n, m]) : tf.transpose(x, [0, 2, 1]);
}

/** Sum over the rows of [G, m, n]: [G, n]. As a product with ones, because sums over any but the last axis transpose. */
export function sumRows(style: ProductStyle, x: tf.Tensor3D): tf.Tensor2D {
  const [groups, m, n] = x.shape;
  return tf.reshape(multiply(style, tf.ones<tf.Rank.R3>([groups, 1, m]), x), [groups, n]);
}

function matrixOf(x: tf.Tensor3D, g: number): tf.Tensor2D {
  const [groups, m, n] = x.shape;
  return tf.reshape(groups === 1 ? x : slice(x, [g, 0, 0], [1, m, n]), [m, n]);
}

/** Elements that a transpose has to move. */
function moved(x: tf.Tensor3D): number {
  return x.shape[1] === 1 || x.shape[2] === 1 ? 0 : x.size;
}
