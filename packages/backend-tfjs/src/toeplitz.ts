import * as tf from '@tensorflow/tfjs-core';
import { type ProductStyle, sumRows } from './multiply.ts';
import { slice } from './slice.ts';

/**
 * Biases by relative distance, laid out as a matrix. All query chunks of one attention see the same Toeplitz matrix
 * shifted along the keys, so it is built once, for the last chunk, and sliced for each.
 */
export interface Band {
  /** [H, chunk, columns]; 0 for keys of the future. */
  readonly values: tf.Tensor3D;
  /** Absolute position of the last chunk's first row. */
  readonly lastStart: number;
}

/** Column c of row r stands for the distance lastStart + r - c. */
export function makeBand(bias: tf.Tensor2D, lastStart: number, chunk: number): Band {
  const past = byFallingDistance(bias, lastStart + chunk);
  return { values: skew(tf.concat([past, tf.zeros([bias.shape[0], chunk])], 1), chunk), lastStart };
}

/** Rows start..start + rows - 1 of the band against keys 0..start + rows - 1. */
export function sliceBand({ values, lastStart }: Band, start: number, rows: number): tf.Tensor3D {
  return slice(values, [0, 0, lastStart - start], [values.shape[0], rows, start + rows]);
}

/** bias [H, W] as [H, columns] for distances columns - 1 down to 0; distances >= W add 0 (spec §Shapes and symbols). */
function byFallingDistance(bias: tf.Tensor2D, columns: number): tf.Tensor2D {
  const [heads, window] = bias.shape;
  const used = Math.min(window, columns);
  const falling = tf.reverse(slice(bias, [0, 0], [heads, used]), 1);
  return tf.concat([tf.zeros<tf.Rank.R2>([heads, columns - used]), falling].slice(used === columns ? 1 : 0), 1);
}

/**
 * line [H, n] to [H, rows, n - rows] with out[h, r, c] = line[h, rows - 1 - r + c], by reading `rows` copies of the
 * line with a stride of n - 1: no gather. The last entry of the line is read by nobody.
 */
function skew(line: tf.Tensor2D, rows: number): tf.Tensor3D {
  const [heads, n] = line.shape;
  // A broadcast sum, because wasm's Tile takes 50 times as long.
  const copies = tf.add<tf.Tensor3D>(tf.zeros([1, rows, 1]), tf.reshape(line, [heads, 1, n]));
  const strided = slice(tf.reshape(copies, [heads, rows * n]), [0, rows - 1], [heads, rows * (n - 1)]);
  return slice(tf.reshape<tf.Rank.R3>(strided, [heads, rows, n - 1]), [0, 0, 0], [heads, rows, n - rows]);
}

/**
 * Sums the diagonals of ds [B, H, rows, keys], whose row r and column c are at distance `start + r - c`, for the
 * distances below W: [H, W] with distances falling from W - 1 to 0. spec §Backward, dbias, without a scatter.
 */
export function sumDiagonals(style: ProductStyle, ds: tf.Tensor4D, start: number, window: number): tf.Tensor2D {
  const [batch, heads, rows, keys] = ds.shape;
  // Keys that are W or more away from every row are left out first.
  const firstKey = Math.max(0, start - window + 1);
  const width = keys - firstKey;
  const near = firstKey === 0 ? ds : slice(ds, [0, 0, 0, firstKey], [batch, heads, rows, width]);
  // Rows - 1 columns of padding and a stride one longer than the row move row r left by r: diagonals become columns.
  const stride = width + rows - 1;
  const padded = tf.pad(tf.reshape(near, [batch * heads, rows, width]), [
    [0, 0],
    [0, 0],
    [rows - 1, 0],
  ]);
  const flat = tf.pad(tf.reshape(padded, [batch * heads, rows * stride]), [
    [0, 0],
    [0, rows],
  ]);
  const columns = sumRows(style, tf.reshape(flat, [batch * heads, rows, stride + 1]) as tf.Tensor3D);
  const perHead = batch === 1 ? columns : tf.sum<tf.Tensor2D>(tf.reshape(columns, [batch, heads, stride + 1]), 0);
  // Column y is at distance start - firstKey + rows - 1 - y.
  const farthest = Math.min(window, start + rows) - 1;
  const zeroDistance = start - firstKey + rows - 1;
  const kept = slice(perHead, [0, zeroDistance - farthest], [heads, farthest + 1]);
  return tf.pad(kept, [
    [0, 0],
    [window - 1 - farthest, 0],
  ]);
}
