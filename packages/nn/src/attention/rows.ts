import { type Ops, statisticsDType, type Tensor } from '@lazy-attention/core';
import { recomputed } from '../autodiff/recomputed.ts';
import type { AttentionInputs } from './definition.ts';
import type { WatchingOps } from './observed.ts';

/** Rows of scores, and which of their keys are attended. All in the statistics type. */
export interface ScoreRows {
  /** [B, H, l, S]: scale * q.k, plus what was added, also of keys that are not attended. */
  readonly scores: Tensor;
  /** [B or 1, 1, l, S]: 1 where a key is attended, else 0. */
  readonly attended: Tensor;
  /** [B or 1, 1, l, 1]: n_i, the number of attended keys. */
  readonly count: Tensor;
  /** x [B, H, l, S] with -Infinity where a key is not attended, so that its exponential is 0. */
  mask(x: Tensor): Tensor;
}

/** Weights [B, H, l, S] of rows of scores; 0 where a key is not attended. */
export type WeightFunction = (ops: Ops, rows: ScoreRows) => Tensor;

/** Added to the scores: by query [B, H, L, 1] and by key [B, H, 1, S]. */
export interface AddedScores {
  /** [B, H, L, 1] */
  readonly byQuery: Tensor;
  /** [B, H, 1, S] */
  readonly byKey: Tensor;
}

/** What `weightedAttention` may be told. */
export interface WeightedOptions {
  /** Added to the scores; default nothing. */
  readonly added?: AddedScores;
  /** Scores that are in memory at once, in each of a handful of tensors. Default 2^22: 16 MiB of f32. */
  readonly entries?: number;
}

/**
 * sum_j w_ij v_j [B, L, H, D] with weights of one's own, a chunk of queries at a time: memory is bounded also in training, where
 * the backward sweep computes a chunk again.
 */
export function weightedAttention(
  ops: Ops,
  inputs: AttentionInputs,
  weights: WeightFunction,
  options: WeightedOptions = {},
): Tensor {
  const { added, entries = 2 ** 22 } = options;
  const { q, k, v, starts, keyLength } = inputs;
  const [batch, length, heads] = q.shape;
  const more = added === undefined ? [] : [added.byQuery, added.byKey];
  (ops as WatchingOps).onWeights?.({
    q,
    k,
    v,
    starts,
    more,
    weights: (inner, of, first, last) => {
      const operands = [byHead(inner, of.q), byHead(inner, of.k), ...of.more];
      return weightsOfRows(inner, { ...inputs, q: of.q, starts: of.starts }, weights, operands, { first, last });
    },
  });
  const operands = [byHead(ops, q), byHead(ops, k), byHead(ops, v), ...more];
  const rows = Math.max(1, Math.min(length, Math.floor(entries / (batch * heads * keyLength))));
  const chunks: Tensor[] = [];
  for (let first = 0; first < length; first += rows) {
    const range = { first, last: Math.min(first + rows, length) };
    const chunk = (inner: Ops, [queries, keys, values, ...rest]: readonly Tensor[]) => {
      const w = weightsOfRows(inner, inputs, weights, [queries, keys, ...rest], range);
      return mixed(inner, w, values);
    };
    chunks.push(rows < length ? recomputed(ops, operands, chunk) : chunk(ops, operands));
  }
  const output = chunks.length === 1 ? chunks[0] : ops.concat(chunks, 2);
  return ops.cast(ops.permute(output, [0, 2, 1, 3]), q.dtype);
}

/** x [B, L, heads, D] as [B, heads, L, D] in the statistics type. */
function byHead(ops: Ops, x: Tensor): Tensor {
  return ops.permute(ops.cast(x, statisticsDType(x.dtype)), [0, 2, 1, 3]);
}

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Weights [B, H, l, S'] of the rows first..last-1. */
function weightsOfRows(
  ops: Ops,
  inputs: Pick<AttentionInputs, 'q' | 'starts' | 'offset'>,
  weights: WeightFunction,
  [q, k, byQuery, byKey]: readonly Tensor[],
  { first, last }: Range,
): Tensor {
  const [batch, heads, , headDim] = q.shape;
  const kvHeads = k.shape[1];
  const keys = inputs.offset + last;
  const length = last - first;
  const part = (x: Tensor, from: number, to: number) => ops.slice(x, 2, from, to);
  // Query heads that share a key/value head are stacked, so that no key is repeated.
  const queries = ops.reshape(part(q, first, last), [batch, kvHeads, (heads / kvHeads) * length, headDim]);
  const products = ops.matmul(queries, part(k, 0, keys), { transposeB: true });
  let scores = ops.scale(ops.reshape(products, [batch, heads, length, keys]), 1 / Math.sqrt(headDim));
  if (byQuery !== undefined && byKey !== undefined) {
    scores = ops.binary('add', scores, part(byQuery, first, last));
    scores = ops.binary('add', scores, ops.slice(byKey, 3, 0, keys));
  }
  const { attended, count } = attendedKeys(ops, inputs, { first, last }, scores.dtype);
  const never = q.backend.full([], Number.NEGATIVE_INFINITY, scores.dtype);
  return weights(ops, { scores, attended, count, mask: (x) => ops.where(attended, x, never) });
}

/** w [B, H, l, S'] times the first S' values of v [B, Hkv, S, D]: [B, H, l, D]. */
function mixed(ops: Ops, w: Tensor, v: Tensor): Tensor {
  const [batch, heads, length, keys] = w.shape;
  const [, kvHeads, , headDim] = v.shape;
  const stacked = ops.reshape(w, [batch, kvHeads, (heads / kvHeads) * length, keys]);
  return ops.reshape(ops.matmul(stacked, ops.slice(v, 2, 0, keys)), [batch, heads, length, headDim]);
}

/** Keys starts..i of each row, made by comparing positions: nothing of size L * S comes from the host. */
function attendedKeys(
  ops: Ops,
  inputs: Pick<AttentionInputs, 'q' | 'starts' | 'offset'>,
  { first, last }: Range,
  dtype: Tensor['dtype'],
) {
  const { q, starts, offset } = inputs;
  const { backend } = q;
  const [batch, length] = q.shape;
  const rows = last - first;
  const table = (values: Float64Array, shape: readonly number[]) => backend.tensor(values, shape, dtype);
  const position = (_: unknown, i: number) => i;
  const key = table(Float64Array.from({ length: offset + last }, position), [1, 1, 1, offset + last]);
  const query = Float64Array.from({ length: rows }, (_, i) => offset + first + i);
  const causal = ops.binary('lessEqual', key, table(query, [1, 1, rows, 1]));
  const given = starts?.indexValues();
  if (given == null)
    return {
      attended: causal,
      count: table(
        query.map((i) => i + 1),
        [1, 1, rows, 1],
      ),
    };
  const start = Float64Array.from(
    { length: batch * rows },
    (_, n) => given[Math.floor(n / rows) * length + first + (n % rows)],
  );
  const from = table(start, [batch, 1, rows, 1]);
  const count = table(
    start.map((from, n) => query[n % rows] - from + 1),
    [batch, 1, rows, 1],
  );
  return { attended: ops.binary('mul', causal, ops.binary('lessEqual', from, key)), count };
}
