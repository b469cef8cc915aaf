import {
  type AttentionGradients,
  type AttentionInputs,
  type AttentionSizes,
  elementCount,
  learned,
  learnedGrads,
  type SavedState,
  statisticsDType,
} from '@lazy-attention/core';
import { elasticRowGrad, elasticWeight, softmaxRow } from './softmax.ts';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

type Inputs = AttentionInputs<Buffer>;

/** The gradient recomputes what it needs from the inputs, so nothing is kept. */
const NOTHING: SavedState = { bytes: 0 };

export function attention(inputs: Inputs, save: boolean): { output: Buffer; saved: SavedState | null } {
  const { sizes } = inputs;
  const v = values(inputs.v);
  const output = new Float64Array(inputs.q.buffer.length);
  const p = new Float64Array(sizes.keyLength);
  forEachRow(inputs, p, (row) => {
    // o_i = sum_j w_ij v_j
    for (let j = 0; j < row.count; j++) {
      const w = elasticWeight(p[j], row.offset);
      if (w !== 0) addScaled(output, row.query, v, row.key + j * row.keyStride, w, sizes.headDim);
    }
  });
  return { output: store(output, inputs.q.dtype), saved: save ? NOTHING : null };
}

export function attentionWeights(inputs: Omit<Inputs, 'v'>): Buffer {
  const { batch, heads, queryLength, keyLength } = inputs.sizes;
  const weights = new Float64Array(batch * heads * queryLength * keyLength);
  const p = new Float64Array(keyLength);
  forEachRow(inputs, p, (row) => {
    const at = ((row.b * heads + row.h) * queryLength + row.r) * keyLength + row.start;
    for (let j = 0; j < row.count; j++) weights[at + j] = elasticWeight(p[j], row.offset);
  });
  return store(weights, statisticsDType(inputs.q.dtype));
}

export function attentionGrad(dOutput: RefTensor, inputs: Inputs): AttentionGradients<Buffer> {
  const { sizes, scale } = inputs;
  const { headDim, window } = sizes;
  const [q, k, v, dO] = [values(inputs.q), values(inputs.k), values(inputs.v), values(dOutput)];
  const dq = new Float64Array(q.length);
  const dk = new Float64Array(k.length);
  const dv = new Float64Array(v.length);
  const sums = learned((name) => new Float64Array(elementCount(inputs[name]?.shape ?? [sizes.heads])));
  const p = new Float64Array(sizes.keyLength);
  const ds = new Float64Array(sizes.keyLength);
  forEachRow(inputs, p, (row) => {
    for (let j = 0; j < row.count; j++) {
      const key = row.key + j * row.keyStride;
      // g_ij = dO_i . v_j, held in ds until elasticRowGrad turns it into ds_ij
      ds[j] = dot(dO, row.query, v, key, headDim);
      // dv_j = sum_i w_ij dO_i
      const w = elasticWeight(p[j], row.offset);
      if (w !== 0) addScaled(dv, key, dO, row.query, w, headDim);
    }
    const { active, delta } = elasticRowGrad(p, ds, row.count, row.offset);
    // dtau_h = sum m_ij g_ij / n_i;  dsink_h = - sum exp(sink_h - lse_i) delta_i
    sums.tau[row.h] += active / row.count;
    sums.sink[row.h] -= row.sinkShare * delta;
    for (let j = 0; j < row.count; j++) {
      const key = row.key + j * row.keyStride;
      // dq_i = scale sum_j ds_ij k_j;  dk_j = scale sum_i ds_ij q_i
      addScaled(dq, row.query, k, key, scale * ds[j], headDim);
      addScaled(dk, key, q, row.query, scale * ds[j], headDim);
      // dbias[h, d] = sum over i - j = d of ds_ij
      const distance = row.count - 1 - j;
      if (distance < window) sums.bias[row.h * window + distance] += ds[j];
    }
  });
  const statistics = statisticsDType(inputs.q.dtype);
  return {
    dq: store(dq, inputs.q.dtype),
    dk: store(dk, inputs.k.dtype),
    dv: store(dv, inputs.v.dtype),
    ...learnedGrads((name) => (inputs[name] === null ? null : store(sums[name], statistics))),
  };
}

/** One query row of one head: query row r attends `count` keys from `start` on. */
interface Row {
  b: number;
  h: number;
  r: number;
  start: number;
  /** n_i */
  count: number;
  /** tau_h / n_i */
  offset: number;
  /** exp(sink_h - lse_i); 0 without a sink. */
  sinkShare: number;
  /** Where row r of head h begins in q and in the output. */
  query: number;
  /** Where the first attended key begins in k and v, and how far it is to the next. */
  key: number;
  keyStride: number;
}

/** Visits every query row with p_ij of its attended keys in p[0..count). spec §Forward. */
function forEachRow(inputs: Omit<Inputs, 'v'>, p: Float64Array, visit: (row: Readonly<Row>) => void): void {
  const { sizes, scale, tau, sink, starts } = inputs;
  const { batch, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, window } = sizes;
  const q = values(inputs.q);
  const k = values(inputs.k);
  const bias = inputs.bias === null ? new Float64Array(0) : values(inputs.bias);
  const keyStride = kvHeads * headDim;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const kvHead = keyValueHead(h, sizes);
      for (let r = 0; r < queryLength; r++) {
        const i = r + keyLength - queryLength;
        const start = starts === null ? 0 : starts.buffer[b * queryLength + r];
        const count = i - start + 1;
        const query = ((b * queryLength + r) * heads + h) * headDim;
        const key = ((b * keyCapacity + start) * kvHeads + kvHead) * headDim;
        // s_ij = scale q_i . k_j + (i - j < W ? bias[h, i - j] : 0)
        for (let j = 0; j < count; j++) {
          const distance = count - 1 - j;
          const added = distance < window ? bias[h * window + distance] : 0;
          p[j] = scale * dot(q, query, k, key + j * keyStride, headDim) + added;
        }
        const sinkShare = softmaxRow(p, count, sink?.buffer[h]);
        const offset = tau === null ? 0 : tau.buffer[h] / count;
        visit({ b, h, r, start, count, offset, sinkShare, query, key, keyStride });
      }
    }
  }
}

/** Grouped-query attention: heads / kvHeads neighbouring query heads share one key/value head. */
function keyValueHead(h: number, sizes: AttentionSizes): number {
  return Math.floor(h / (sizes.heads / sizes.kvHeads));
}

function dot(a: Float64Array, ai: number, b: Float64Array, bi: number, n: number): number {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += a[ai + d] * b[bi + d];
  return sum;
}

/** target += factor * source */
function addScaled(
  target: Float64Array,
  ti: number,
  source: Float64Array,
  si: number,
  factor: number,
  n: number,
): void {
  for (let d = 0; d < n; d++) target[ti + d] += factor * source[si + d];
}
