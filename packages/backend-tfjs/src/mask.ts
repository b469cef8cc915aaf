import * as tf from '@tensorflow/tfjs-core';
import { type HostKernel, hasHostKernels, runHostKernel } from './host-kernel.ts';

/** Which keys the rows of [B, H, rows, keys] attend: row r those from `first[b, r]` to `start + r`. */
export interface Attended {
  /** Absolute position of the first row. */
  readonly start: number;
  /** [B, 1, rows, 1] as floats; null: every row begins at key 0. */
  readonly first: tf.Tensor4D | null;
}

/**
 * x [B, H, rows, keys] with `other` wherever a key is not attended, whatever stood there. A select and not a sum with
 * a very negative number: scores may be as large as that number, and Infinity and NaN must not reach other rows.
 */
export function whereAttended(x: tf.Tensor4D, attended: Attended, other: number): tf.Tensor4D {
  if (!hasHostKernels()) return tf.where(attendedMask(x.shape, attended), x, other);
  const { start, first } = attended;
  const inputs = first === null ? [x] : [x, first];
  return runHostKernel(MASK, inputs, { sizes: x.shape, start, other }, x.shape) as tf.Tensor4D;
}

/** x [rows, width] with zeros, whatever stood there, in rows where `kept` [rows] (boolean) is false. */
export function keepRows(x: tf.Tensor2D, kept: tf.Tensor1D): tf.Tensor2D {
  const [rows, width] = x.shape;
  // As rows of scores that begin behind their last key.
  const first = tf.reshape<tf.Rank.R4>(tf.mul(tf.cast(tf.logicalNot(kept), 'float32'), width), [1, 1, rows, 1]);
  const all = tf.reshape<tf.Rank.R4>(x, [1, 1, rows, width]);
  return tf.reshape(whereAttended(all, { start: width, first }, 0), [rows, width]);
}

/** [1 or B, 1, rows, keys], true where attended. */
function attendedMask([, , rows, keys]: readonly number[], { start, first }: Attended): tf.Tensor {
  const key = tf.reshape(tf.range(0, keys), [1, 1, 1, keys]);
  const past = tf.lessEqual(key, tf.reshape(tf.range(start, start + rows), [1, 1, rows, 1]));
  return first === null ? past : tf.logicalAnd(past, tf.greaterEqual(key, first));
}

/** Selects and comparisons of wasm and cpu are slow; a copy that is filled where nothing is attended is not. */
const MASK: HostKernel<{ sizes: readonly number[]; start: number; other: number }> = {
  name: 'LazyAttentionMask',
  fill(output, [x, first], { sizes: [batch, heads, rows, keys], start, other }) {
    output.set(x);
    let at = 0;
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let r = 0; r < rows; r++, at += keys) {
          if (first !== undefined) output.fill(other, at, at + first[b * rows + r]);
          output.fill(other, at + Math.min(keys, start + r + 1), at + keys);
        }
      }
    }
  },
};
