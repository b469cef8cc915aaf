import { type AttentionInputs, type KernelTensor, statisticsDType, type TensorData } from '@lazy-attention/core';
import type { Mutation, ReferenceKernels } from './mutation.ts';

/** Mistakes that an implementation of spec §Forward and spec §Backward can make. */
export const FLAWS = {
  forward: [
    'the window is one too wide',
    'the window is one too narrow',
    'the window is ignored',
    'the bias is reversed',
    'the bias of head 0 is used for all',
    'the bias is scaled',
    'the scale is ignored',
    'tau is not divided by n',
    'n is one too small',
    'n ignores starts',
    'tau of head 0 is used for all',
    'starts are ignored',
    'starts of entry 0 are used for all',
    'the last key is not attended',
    'one key of the future is attended',
    'rows count from the first key',
    'there is no ReLU',
    'positive tau lifts keys that are not attended',
    'heads are dealt out to kv heads in turn',
    'caches are read as if they were full',
    'caches are read as if they had no room',
    'the maximum is not taken out',
    'weights are normalised again',
    'dim 128 is the last',
    'the sink is ignored',
    'the sink of head 0 is used for all',
  ],
  backward: [
    'delta comes from the output, as in softmax',
    'delta ignores the mask',
    'a weight of exactly zero is active',
    'inactive pairs have no gradient',
    'the mask is missing',
    'dtau is not divided by n',
    'dtau misses the mask',
    'dtau is summed over active weights only once per row',
    'dbias is one distance off',
    'dbias goes past the window',
    'dbias misses entries of the batch',
    'dv uses p',
    'dq is not scaled',
    'dk is not scaled',
    'the last query head of a group wins in dk',
    'the last query head of a group wins in dv',
    'dsink has the other sign',
    'dsink misses entries of the batch',
  ],
} as const;

export type Flaw = (typeof FLAWS)[keyof typeof FLAWS][number];

interface Grads {
  readonly dq: Float64Array;
  readonly dk: Float64Array;
  readonly dv: Float64Array;
  readonly dbias: Float64Array;
  readonly dtau: Float64Array;
  readonly dsink: Float64Array;
}

/**
 * Attention with at most one flaw, written pair by pair and without the reference's code: with none it must pass
 * everything, with one it must be caught.
 */
function attend(inputs: AttentionInputs<TensorData>, flaw: Flaw | null, dO: TensorData | null) {
  const { sizes, scale, q, k, v, bias, tau, sink, starts } = inputs;
  const { batch: B, queryLength: L, keyLength: S, keyCapacity, heads: H, kvHeads, headDim: D, window: W } = sizes;
  const is = (candidate: Flaw) => flaw === candidate;
  const capacity = is('caches are read as if they had no room') ? S : keyCapacity;
  const keys = is('caches are read as if they were full') ? keyCapacity : S;
  const lastDim = is('dim 128 is the last') ? Math.min(D, 128) : D;
  const weights = new Float64Array(B * H * L * S);
  const output = new Float64Array(B * L * H * D);
  const grads: Grads = {
    dq: new Float64Array(q.buffer.length),
    dk: new Float64Array(k.buffer.length),
    dv: new Float64Array(v.buffer.length),
    dbias: new Float64Array(H * W),
    dtau: new Float64Array(H),
    dsink: new Float64Array(H),
  };

  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const kvHead = is('heads are dealt out to kv heads in turn') ? h % kvHeads : Math.floor((h * kvHeads) / H);
      for (let r = 0; r < L; r++) {
        const i = is('rows count from the first key') ? r : r + keys - L;
        const start = startOf(b, r);
        const end = lastKey(i);
        const n = count(i, start);
        const offset = tau === null ? 0 : tau.buffer[is('tau of head 0 is used for all') ? 0 : h] / n;
        const query = ((b * L + r) * H + h) * D;
        const p = softmax(b, h, kvHead, i, start, end, query);
        const w = p.map((value) => (is('there is no ReLU') ? value + offset : Math.max(value + offset, 0)));
        if (is('weights are normalised again')) {
          const total = w.reduce((a, x) => a + x, 0);
          for (const [j, value] of w.entries()) w[j] = total > 0 ? value / total : 0;
        }
        for (let j = start; j <= end; j++) {
          weights[((b * H + h) * L + r) * S + j] = w[j - start];
          for (let d = 0; d < lastDim; d++) output[query + d] += w[j - start] * v.buffer[at(b, j, kvHead) + d];
        }
        if (offset > 0 && is('positive tau lifts keys that are not attended')) {
          for (let j = 0; j < start; j++) {
            for (let d = 0; d < D; d++) output[query + d] += offset * v.buffer[at(b, j, kvHead) + d];
            weights[((b * H + h) * L + r) * S + j] = offset;
          }
        }
        if (dO !== null) rowGrad(b, h, kvHead, i, start, end, n, offset, query, p, w, dO);
      }
    }
  }
  return { output, weights, grads };

  function startOf(b: number, r: number): number {
    if (starts === null || is('starts are ignored')) return 0;
    return starts.buffer[(is('starts of entry 0 are used for all') ? 0 : b) * L + r];
  }

  function lastKey(i: number): number {
    if (is('one key of the future is attended')) return Math.min(i + 1, keys - 1);
    return is('the last key is not attended') ? i - 1 : i;
  }

  function count(i: number, start: number): number {
    if (is('tau is not divided by n')) return 1;
    if (is('n ignores starts')) return i + 1;
    return is('n is one too small') ? i - start : i - start + 1;
  }

  function at(b: number, j: number, kvHead: number): number {
    return ((b * capacity + j) * kvHeads + kvHead) * D;
  }

  function biasAt(h: number, distance: number): number {
    if (bias === null || distance < 0) return 0;
    const head = is('the bias of head 0 is used for all') ? 0 : h;
    if (is('the window is ignored')) return bias.buffer[head * W + Math.min(distance, W - 1)];
    const width = W + (is('the window is one too wide') ? 1 : 0) - (is('the window is one too narrow') ? 1 : 0);
    if (distance >= width) return 0;
    const entry = is('the bias is reversed') ? W - 1 - distance : distance;
    return (bias.buffer[head * W + entry] ?? 0) * (is('the bias is scaled') ? scale : 1);
  }

  function softmax(b: number, h: number, kvHead: number, i: number, start: number, end: number, query: number) {
    const s: number[] = [];
    for (let j = start; j <= end; j++) {
      let dot = 0;
      for (let d = 0; d < lastDim; d++) dot += q.buffer[query + d] * k.buffer[at(b, j, kvHead) + d];
      s.push((is('the scale is ignored') ? 1 : scale) * dot + biasAt(h, i - j));
    }
    const extra = sinkAt(h);
    const max = is('the maximum is not taken out') ? 0 : s.reduce((a, x) => Math.max(a, x), extra);
    const e = s.map((x) => Math.exp(x - max));
    const total = e.reduce((a, x) => a + x, Math.exp(extra - max));
    return e.map((x) => x / total);
  }

  function sinkAt(h: number): number {
    if (sink === null || is('the sink is ignored')) return Number.NEGATIVE_INFINITY;
    return sink.buffer[is('the sink of head 0 is used for all') ? 0 : h];
  }

  function rowGrad(
    b: number,
    h: number,
    kvHead: number,
    i: number,
    start: number,
    end: number,
    n: number,
    offset: number,
    query: number,
    p: readonly number[],
    w: readonly number[],
    dOut: TensorData,
  ): void {
    const strict = !is('a weight of exactly zero is active');
    const m = p.map((x) => (is('the mask is missing') || x + offset > 0 || (!strict && x + offset === 0) ? 1 : 0));
    const g = p.map((_, j) => {
      let dot = 0;
      for (let d = 0; d < D; d++) dot += dOut[query + d] * v.buffer[at(b, start + j, kvHead) + d];
      return dot;
    });
    let delta = 0;
    for (const j of p.keys()) delta += p[j] * (is('delta ignores the mask') ? 1 : m[j]) * g[j];
    if (is('delta comes from the output, as in softmax')) {
      delta = 0;
      for (let d = 0; d < D; d++) delta += dOut[query + d] * output[query + d];
    }
    // The sink takes what the keys leave: p_sink = 1 - sum(p), and ds_sink = -p_sink delta, since it has no value.
    if (sink !== null && (b === 0 || !is('dsink misses entries of the batch'))) {
      const taken = 1 - p.reduce((a, x) => a + x, 0);
      grads.dsink[h] -= (is('dsink has the other sign') ? -1 : 1) * taken * delta;
    }
    const last = (h + 1) % (H / kvHeads) === 0;
    for (let j = start; j <= end; j++) {
      const [pj, wj, mj, gj] = [p[j - start], w[j - start], m[j - start], g[j - start]];
      const ds = is('inactive pairs have no gradient') && mj === 0 ? 0 : pj * (mj * gj - delta);
      const key = at(b, j, kvHead);
      for (let d = 0; d < D; d++) {
        grads.dq[query + d] += (is('dq is not scaled') ? 1 : scale) * ds * k.buffer[key + d];
        if (last || !is('the last query head of a group wins in dk')) {
          grads.dk[key + d] += (is('dk is not scaled') ? 1 : scale) * ds * q.buffer[query + d];
        }
        if (last || !is('the last query head of a group wins in dv')) {
          grads.dv[key + d] += (is('dv uses p') ? pj : wj) * dOut[query + d];
        }
      }
      const distance = i - j + (is('dbias is one distance off') ? 1 : 0);
      const inBatch = b === 0 || !is('dbias misses entries of the batch');
      if (distance < W && inBatch) grads.dbias[h * W + distance] += ds;
      else if (W > 0 && is('dbias goes past the window')) grads.dbias[h * W + W - 1] += ds;
      const masked = is('dtau misses the mask') ? gj : mj * gj;
      if (!is('dtau is summed over active weights only once per row') || j === end) {
        grads.dtau[h] += masked / (is('dtau is not divided by n') ? 1 : n);
      }
    }
  }
}

/** The three attention kernels, wrong only where the flaw is. */
export function flawedAttention(right: ReferenceKernels, flaw: Flaw | null): Partial<ReferenceKernels> {
  const store = (computed: Float64Array, like: KernelTensor<TensorData>) =>
    right.upload(computed, [computed.length], like.dtype);
  const statistics = (computed: Float64Array, like: KernelTensor<TensorData>) =>
    right.upload(computed, [computed.length], statisticsDType(like.dtype));
  return {
    attention: (inputs, save) => ({
      output: store(attend(inputs, flaw, null).output, inputs.q),
      saved: save ? { bytes: 0 } : null,
    }),
    attentionWeights: (inputs) => statistics(attend({ ...inputs, v: inputs.k }, flaw, null).weights, inputs.q),
    attentionGrad: (dOutput, inputs) => {
      const { dq, dk, dv, dbias, dtau, dsink } = attend(inputs, flaw, dOutput.buffer).grads;
      return {
        dq: store(dq, inputs.q),
        dk: store(dk, inputs.k),
        dv: store(dv, inputs.v),
        dbias: inputs.bias && statistics(dbias, inputs.q),
        dtau: inputs.tau && statistics(dtau, inputs.q),
        dsink: inputs.sink && statistics(dsink, inputs.q),
      };
    },
  };
}

function only<K extends keyof ReferenceKernels>(kernel: K, flaw: Flaw): Mutation {
  return {
    kernel,
    name: flaw,
    wrong: (right) => ({ [kernel]: flawedAttention(right, flaw)[kernel] }),
  };
}

/** A flaw of the forward formula is tried in all three kernels, each by itself. */
export const attentionMutations: readonly Mutation[] = [
  ...FLAWS.forward.flatMap((flaw) => [only('attention', flaw), only('attentionWeights', flaw)]),
  // A gradient is never asked for with a partly filled cache.
  ...FLAWS.forward
    .filter((flaw) => !flaw.startsWith('caches') && flaw !== 'positive tau lifts keys that are not attended')
    .map((flaw) => only('attentionGrad', flaw)),
  ...FLAWS.backward.map((flaw) => only('attentionGrad', flaw)),
];
