import { type PerHead, perHead } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Attended, whereAttended } from './mask.ts';
import { relu } from './relu.ts';

/** Rows of scores [B, H, rows, keys], -Infinity for keys that are not attended; learned inputs as [1, H, 1, 1]. */
export interface ScoreRows extends PerHead<tf.Tensor4D | null> {
  readonly scores: tf.Tensor4D;
  readonly attended: Attended;
  /** n_i, the number of attended keys, [B or 1, 1, rows, 1]. */
  readonly count: tf.Tensor;
}

/** The rows of `raw` scores, of which those of keys that are not attended may hold anything. */
export function scoreRows(raw: tf.Tensor4D, attended: Attended, learned: PerHead<tf.Tensor4D | null>): ScoreRows {
  const { start, first } = attended;
  const positions = tf.reshape(tf.range(start + 1, start + raw.shape[2] + 1), [1, 1, raw.shape[2], 1]);
  return {
    scores: whereAttended(raw, attended, Number.NEGATIVE_INFINITY),
    attended,
    ...learned,
    count: first === null ? positions : tf.sub(positions, first),
  };
}

/**
 * spec §Forward: p = softmax(s), w = max(p + tau / n, 0) on attended keys, 0 on others (tau > 0 would lift them, and a
 * row without a softmax is NaN on attended keys alone).
 */
export function elasticWeights(rows: ScoreRows): {
  probabilities: tf.Tensor4D;
  weights: tf.Tensor4D;
  sinkShare: tf.Tensor4D | null;
} {
  const { probabilities, sinkShare } = softmaxBeside(rows);
  const lifted =
    rows.tau === null ? probabilities : relu(tf.add<tf.Tensor4D>(probabilities, tf.div(rows.tau, rows.count)));
  return { probabilities, sinkShare, weights: whereAttended(lifted, rows.attended, 0) };
}

/** Softmax over the keys and, where there is one, the sink, whose p [B, H, rows, 1] stands by itself. */
function softmaxBeside({ scores, sink }: ScoreRows): { probabilities: tf.Tensor4D; sinkShare: tf.Tensor4D | null } {
  if (sink === null) return { probabilities: tf.softmax(scores), sinkShare: null };
  const [batch, , rows, keys] = scores.shape;
  const all = tf.softmax(tf.concat([scores, tf.tile(sink, [batch, 1, rows, 1])], 3));
  const [probabilities, sinkShare] = tf.split<tf.Tensor4D>(all, [keys, 1], 3);
  return { probabilities: probabilities as tf.Tensor4D, sinkShare: sinkShare as tf.Tensor4D };
}

/**
 * spec §Backward from g = dL/dw: ds = p (m g - delta) with delta = sum p m g, and the rows' parts [B, H, rows, 1] of the gradients
 * of learned inputs that are there: m g / n summed over keys for dtau, -exp(sink - lse) delta for the sink's. With w = 0 counting
 * as inactive, m is step(w).
 */
export function softmaxGradient(
  rows: ScoreRows,
  g: tf.Tensor4D,
): { weights: tf.Tensor4D; ds: tf.Tensor4D; parts: PerHead<tf.Tensor4D | null> } {
  const { probabilities, weights, sinkShare } = elasticWeights(rows);
  const active = rows.tau === null ? g : tf.mul<tf.Tensor4D>(tf.step(weights), g);
  const delta = tf.sum(tf.mul(probabilities, active), -1, true);
  const ds = tf.mul<tf.Tensor4D>(probabilities, tf.sub(active, delta));
  const tau = rows.tau === null ? null : tf.div<tf.Tensor4D>(tf.sum(active, -1, true), rows.count);
  const sink = sinkShare && tf.neg(tf.mul<tf.Tensor4D>(sinkShare, delta));
  return { weights, ds, parts: { tau, sink } };
}

/** Rows from scores that are given whole, [B, H, L, S], with `starts` [B, L]. */
export function givenScores(scores: tf.Tensor4D, tau: tf.Tensor1D | null, starts: tf.Tensor2D | null): ScoreRows {
  const [batch, heads, length, keys] = scores.shape;
  const first = starts && tf.reshape<tf.Rank.R4>(tf.cast(starts, 'float32'), [batch, 1, length, 1]);
  const only = { ...perHead(() => null), tau: tau && tf.reshape<tf.Rank.R4>(tau, [1, heads, 1, 1]) };
  return scoreRows(scores, { start: keys - length, first }, only);
}
