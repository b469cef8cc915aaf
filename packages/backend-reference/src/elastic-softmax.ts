import { type ElasticSoftmaxInputs, statisticsDType } from '@lazy-attention/core';
import { elasticRowGrad, elasticWeight, softmaxRow } from './softmax.ts';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

type Inputs = ElasticSoftmaxInputs<Buffer>;

export function elasticSoftmax(inputs: Inputs): Buffer {
  const s = values(inputs.scores);
  const w = new Float64Array(s.length);
  const p = new Float64Array(inputs.scores.shape[3]);
  forEachRow(inputs, (at, count, offset) => {
    p.set(s.subarray(at, at + count));
    softmaxRow(p, count);
    for (let j = 0; j < count; j++) w[at + j] = elasticWeight(p[j], offset);
  });
  return store(w, inputs.scores.dtype);
}

export function elasticSoftmaxGrad(dWeights: RefTensor, inputs: Inputs): { dscores: Buffer; dtau: Buffer | null } {
  const s = values(inputs.scores);
  const dw = values(dWeights);
  const [, heads, , keys] = inputs.scores.shape;
  const dscores = new Float64Array(s.length);
  const dtau = new Float64Array(heads);
  const p = new Float64Array(keys);
  const g = new Float64Array(keys);
  forEachRow(inputs, (at, count, offset, h) => {
    p.set(s.subarray(at, at + count));
    softmaxRow(p, count);
    g.set(dw.subarray(at, at + count));
    dtau[h] += elasticRowGrad(p, g, count, offset).active / count;
    dscores.set(g.subarray(0, count), at);
  });
  const dtype = inputs.scores.dtype;
  return {
    dscores: store(dscores, dtype),
    dtau: inputs.tau === null ? null : store(dtau, statisticsDType(dtype)),
  };
}

/** Calls `visit` with where the attended scores of each row begin, how many they are (n), tau / n, and the head. */
function forEachRow(inputs: Inputs, visit: (at: number, count: number, offset: number, h: number) => void): void {
  const { scores, tau, starts } = inputs;
  const [batch, heads, length, keys] = scores.shape;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let r = 0; r < length; r++) {
        const start = starts === null ? 0 : starts.buffer[b * length + r];
        const count = r + keys - length - start + 1;
        const offset = tau === null ? 0 : tau.buffer[h] / count;
        visit(((b * heads + h) * length + r) * keys + start, count, offset, h);
      }
    }
  }
}
