import * as tf from '@tensorflow/tfjs-core';
import { MASKED, makeBands } from './toeplitz.ts';

/** Rows of scores [B, H, rows, keys], with keys that are not attended at `MASKED`. */
export interface ScoreRows {
  readonly scores: tf.Tensor4D;
  /** 1 where a key is attended, else 0; broadcasts over scores. */
  readonly attended: tf.Tensor;
  /** [1, H, 1, 1]; null is plain softmax. */
  readonly tau: tf.Tensor4D | null;
  /** n_i, the number of attended keys, [B or 1, 1, rows, 1]. */
  readonly count: tf.Tensor;
}

/** spec §Forward: p = softmax(s), w = max(p + tau / n, 0) on attended keys. */
export function elasticWeights(rows: ScoreRows): { probabilities: tf.Tensor4D; weights: tf.Tensor4D } {
  const probabilities = tf.softmax(rows.scores);
  if (rows.tau === null) return { probabilities, weights: probabilities };
  const lifted = tf.relu(tf.add(probabilities, tf.div(rows.tau, rows.count)));
  // With tau > 0 a key that is not attended would weigh tau / n.
  return { probabilities, weights: tf.mul(lifted, rows.attended) };
}

/**
 * spec §Backward from g = dL/dw: ds = p (m g - delta) with delta = sum p m g, and m g / n summed over keys
 * ([B, H, rows, 1]) for dtau. With w = 0 counting as inactive, m is step(w).
 */
export function softmaxGradient(
  rows: ScoreRows,
  g: tf.Tensor4D,
): { weights: tf.Tensor4D; ds: tf.Tensor4D; dtauRows: tf.Tensor4D | null } {
  const { probabilities, weights } = elasticWeights(rows);
  const active = rows.tau === null ? g : tf.mul<tf.Tensor4D>(tf.step(weights), g);
  const delta = tf.sum(tf.mul(probabilities, active), -1, true);
  const ds = tf.mul<tf.Tensor4D>(probabilities, tf.sub(active, delta));
  const dtauRows = rows.tau === null ? null : tf.div<tf.Tensor4D>(tf.sum(active, -1, true), rows.count);
  return { weights, ds, dtauRows };
}

/** The rows with keys before `first` ([B, 1, rows, 1], as floats) not attended either. */
export function hideBefore(rows: ScoreRows, first: tf.Tensor): ScoreRows {
  // Comparisons and selects are slow on wasm, step is not.
  const before = tf.step(tf.sub(first, tf.range(0, rows.scores.shape[3])));
  return {
    ...rows,
    scores: tf.add(rows.scores, tf.mul(before, MASKED)),
    attended: tf.mul(rows.attended, tf.sub(1, before)),
    count: tf.sub(rows.count, first),
  };
}

/** Rows from scores that are given whole, [B, H, L, S]: masks future keys and those before `starts` [B, L]. */
export function maskScores(scores: tf.Tensor4D, tau: tf.Tensor1D | null, starts: tf.Tensor2D | null): ScoreRows {
  const [batch, heads, length, keys] = scores.shape;
  const first = keys - length;
  const bands = makeBands(null, first, length);
  const rows: ScoreRows = {
    scores: tf.add(scores, bands.additive),
    attended: bands.attended,
    tau: tau && tf.reshape(tau, [1, heads, 1, 1]),
    count: tf.reshape(tf.range(first + 1, keys + 1), [1, 1, length, 1]),
  };
  return starts === null ? rows : hideBefore(rows, tf.reshape(tf.cast(starts, 'float32'), [batch, 1, length, 1]));
}
