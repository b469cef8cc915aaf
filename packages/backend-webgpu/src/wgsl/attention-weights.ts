import { BESIDE, BIAS, OPTIONAL_PARAMS, offsetOf, PER_HEAD, STARTS } from './attention-optional.ts';
import { ELEMENTWISE_THREADS, index, type Typed } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';
import { EXPONENTIAL, poisoned, RELU } from './numbers.ts';
import { EACH_OF_ROW, ROW } from './row.ts';
import { softmaxOfRow } from './softmax.ts';

const ELASTIC_PARAMS = { rows: 'u32', width: 'u32', queryLength: 'u32', heads: 'u32', ...OPTIONAL_PARAMS } as const;

/** Keys that a row of [B, H, L, S] attends, spec §Shapes and symbols: `start` to `end` (exclusive). */
const ATTENDED_KEYS = `
  let r = row % params.queryLength;
  let h = (row / params.queryLength) % params.heads;
  let b = row / (params.queryLength * params.heads);
  var start = 0u;
  if (params.hasStarts != 0u) { start = u32(starts[b * params.queryLength + r]); }
  let end = r + params.width - params.queryLength + 1u;
  ${offsetOf('f32(end - start)')}`;

/** spec §Forward for given scores: w = max(p + tau / n, 0), 0 where not attended. */
export const elasticSoftmax = kernel({
  name: 'elasticSoftmax',
  params: ELASTIC_PARAMS,
  text: ({ type }: Typed) => ({
    buffers: { scores: read(type), weights: write(type), ...PER_HEAD, ...STARTS },
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: EXPONENTIAL + RELU + BESIDE,
    body: `
      ${ROW}
      ${ATTENDED_KEYS}
      ${softmaxOfRow('f32(scores[base + j])', 'start', 'end', true)}
      let inverse = 1.0 / sum;
      ${EACH_OF_ROW} {
        var w = 0.0;
        if (j >= start && j < end) {
          w = ${poisoned('relu(exponential(f32(scores[base + j]), top) * inverse + offset)', 'poison')};
        }
        weights[base + j] = ${type}(w);
      }`,
  }),
});

/** spec §Backward for given scores: ds = p (m g - delta), and the row's term of dtau. */
export const elasticSoftmaxGrad = kernel({
  name: 'elasticSoftmaxGrad',
  params: ELASTIC_PARAMS,
  text: ({ type }: Typed) => ({
    buffers: {
      dWeights: read(type),
      scores: read(type),
      dscores: write(type),
      tauTerms: write('f32'),
      ...PER_HEAD,
      ...STARTS,
    },
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: EXPONENTIAL,
    body: `
      ${ROW}
      ${ATTENDED_KEYS}
      ${softmaxOfRow('f32(scores[base + j])', 'start', 'end')}
      let inverse = 1.0 / sum;
      var pulls = 0.0;
      var gains = 0.0;
      for (var j = start + lane; j < end; j += rowThreads) {
        let p = exponential(f32(scores[base + j]), top) * inverse;
        let g = select(0.0, f32(dWeights[base + j]), p + offset > 0.0);
        pulls += p * g;
        gains += g;
      }
      let delta = total(pulls, lane);
      let gain = total(gains, lane);
      ${EACH_OF_ROW} {
        var ds = 0.0;
        if (j >= start && j < end) {
          let p = exponential(f32(scores[base + j]), top) * inverse;
          let g = select(0.0, f32(dWeights[base + j]), p + offset > 0.0);
          ds = ${poisoned('(p * (g - delta))', 'poison')};
        }
        dscores[base + j] = ${type}(ds);
      }
      if (lane == 0u) { tauTerms[row] = gain / f32(end - start); }`,
  }),
});

/** s = scale * q . k + bias as [B, H, L, S], one invocation per pair: for looking at weights, not for speed. */
export const denseScores = kernel({
  name: 'attentionWeights',
  params: {
    pairs: 'u32',
    queryLength: 'u32',
    keyLength: 'u32',
    keyCapacity: 'u32',
    heads: 'u32',
    kvHeads: 'u32',
    headDim: 'u32',
    ...OPTIONAL_PARAMS,
    scale: 'f32',
  },
  text: ({ type }: Typed) => ({
    buffers: { q: read(type), k: read(type), scores: write('f32'), ...BIAS },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('pairs')}
      let j = i % params.keyLength;
      let r = (i / params.keyLength) % params.queryLength;
      let h = (i / (params.keyLength * params.queryLength)) % params.heads;
      let b = i / (params.keyLength * params.queryLength * params.heads);
      let position = r + params.keyLength - params.queryLength;
      var score = 0.0;
      if (j <= position) {
        let kvHead = h / (params.heads / params.kvHeads);
        let qRow = ((b * params.queryLength + r) * params.heads + h) * params.headDim;
        let kRow = ((b * params.keyCapacity + j) * params.kvHeads + kvHead) * params.headDim;
        for (var d = 0u; d < params.headDim; d++) { score += f32(q[qRow + d]) * f32(k[kRow + d]); }
        score *= params.scale;
        if (position - j < params.window) { score += bias[h * params.window + position - j]; }
      }
      scores[i] = score;`,
  }),
});
