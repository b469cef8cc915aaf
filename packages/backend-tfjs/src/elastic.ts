import * as tf from '@tensorflow/tfjs-core';
import { type Attended, whereAttended } from './mask.ts';
import { relu } from './relu.ts';

/** Rows of scores [B, H, rows, keys], -Infinity for keys that are not attended. */
export interface ScoreRows {
  readonly scores: tf.Tensor4D;
  readonly attended: Attended;
  /** [1, H, 1, 1]; null is plain softmax. */
  readonly tau: tf.Tensor4D | null;
  /** [1, H, 1, 1], spec §Sink logit; null is none. */
  readonly sink: tf.Tensor4D | null;
  /** n_i, the number of attended keys, [B or 1, 1, rows, 1]. */
  readonly count: tf.Tensor;
}

/** The rows of `raw` scores, of which those of keys that are not attended may hold anything. */
export function scoreRows(
  raw: tf.Tensor4D,
  attended: Attended,
  tau: tf.Tensor4D | null,
  sink: tf.Tensor4D | null = null,
): ScoreRows {
  const { start, first } = attended;
  const positions = tf.reshape(tf.range(start + 1, start + raw.shape[2] + 1), [1, 1, raw.shape[2], 1]);
  return {
    scores: whereAttended(raw, attended, Number.NEGATIVE_INFINITY),
    attended,
    tau,
    sink,
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
 * spec §Backward from g = dL/dw: ds = p (m g - delta) with delta = sum p m g, and m g / n summed over keys
 * ([B, H, rows, 1]) for dtau; for the sink's gradient -exp(sink - lse) delta. With w = 0 counting as inactive, m is step(w).
 */
export function softmaxGradient(
  rows: ScoreRows,
  g: tf.Tensor4D,
): { weights: tf.Tensor4D; ds: tf.Tensor4D; dtauRows: tf.Tensor4D | null; dsinkRows: tf.Tensor4D | null } {
  const { probabilities, weights, sinkShare } = elasticWeights(rows);
  const active = rows.tau === null ? g : tf.mul<tf.Tensor4D>(tf.step(weights), g);
  const delta = tf.sum(tf.mul(probabilities, active), -1, true);
  const ds = tf.mul<tf.Tensor4D>(probabilities, tf.sub(active, delta));
  const dtauRows = rows.tau === null ? null : tf.div<tf.Tensor4D>(tf.sum(active, -1, true), rows.count);
  const dsinkRows = sinkShare && tf.neg(tf.mul<tf.Tensor4D>(sinkShare, delta));
  return { weights, ds, dtauRows, dsinkRows };
}

/** Rows from scores that are given whole, [B, H, L, S], with `starts` [B, L]. */
export function givenScores(scores: tf.Tensor4D, tau: tf.Tensor1D | null, starts: tf.Tensor2D | null): ScoreRows {
  const [batch, heads, length, keys] = scores.shape;
  const first = starts && tf.reshape<tf.Rank.R4>(tf.cast(starts, 'float32'), [batch, 1, length, 1]);
  return scoreRows(scores, { start: keys - length, first }, tau && tf.reshape(tau, [1, heads, 1, 1]));
}
