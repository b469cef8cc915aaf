import { PER_HEAD_NAMES } from '@lazy-attention/core';
import { BESIDE, BIAS, GRADIENT_TERMS, offsetOf, PER_HEAD, STARTS } from './attention-optional.ts';
import { GROUP, headPlaces, START_READER, STRIP_PARAMS } from './attention-strip.ts';
import { ELEMENTWISE_THREADS, index } from './elementwise.ts';
import { kernel, type NoVariant, read, write } from './kernel.ts';
import { EXPONENTIAL, isNumber, poisoned, poisonOf, RELU } from './numbers.ts';
import { softmaxOfRow } from './softmax.ts';

/** Row `group.x` of head `group.y` of the block: the keys that it attends, and the keys where its strip has to be valid. */
const STRIP_ROW = `
  let r = group.x;
  ${headPlaces('group.y')}
  let base = stripBase + r * params.stripWidth;
  let position = params.blockRow + r + qOffset;
  let start = startOf(batch, r);
  let groupRow = r / ${GROUP}u * ${GROUP}u;
  let firstKey = startOf(batch, groupRow) / ${GROUP}u * ${GROUP}u;
  let lastPosition = params.blockRow + min(groupRow + ${GROUP}u, params.rowCount) - 1u + qOffset;
  let endKey = min(params.stripWidth, (lastPosition / ${GROUP}u + 1u) * ${GROUP}u);
  let count = f32(position - start + 1u);
  ${offsetOf('count')}
  let statsAt = (batch * params.heads + h) * params.queryLength + params.blockRow + r;`;

/** s = scale * q . k + bias; `strip` holds the first term. */
const SCORE_READER = `
fn scoreAt(base: u32, key: u32, h: u32, position: u32) -> f32 {
  let distance = position - key;
  var score = strip[base + key];
  if (distance < params.window) { score += bias[h * params.window + distance]; }
  return score;
}`;

/**
 * For every key of the row's strip `results`, values by place from its `p`; keys that are not attended have 0, also when tau > 0. `w` is
 * max(p + tau / n, 0). Nearly every row holds numbers alone, and has a loop without the tests of bits that a NaN needs to get through,
 * which took 6 % of attention (docs/benchmarks/webgpu.md).
 */
function overRow(p: string, results: (w: string) => Readonly<Record<string, string>>): string {
  const loop = (values: Readonly<Record<string, string>>) => {
    const places = Object.keys(values);
    return `
        for (var j = firstKey + lane; j < endKey; j += rowThreads) {
          if (j >= start && j <= position) {
            let p = ${p};
            ${places.map((place) => `${place} = ${values[place]};`).join('\n            ')}
          } else {
            ${places.map((place) => `${place} = 0.0;`).join('\n            ')}
          }
        }`;
  };
  const plain = results('max(p + offset, 0.0)');
  const careful = Object.entries(results('relu(p + offset)')).map(([place, value]) => [
    place,
    poisoned(`(${value})`, 'poison'),
  ]);
  return `if (poison == 0u && ${isNumber('offset')}) {${loop(plain)}
      } else {${loop(Object.fromEntries(careful))}
      }`;
}

/**
 * spec §Forward: turns a row of scale * q . k into w = max(p + tau / n, 0), and keeps the row's maximum of s and
 * 1 / sum exp(s - maximum), which together are lse without the rounding of their sum. Grid: rows x heads of the block.
 */
export const stripSoftmax = kernel({
  name: 'attention/softmax',
  params: STRIP_PARAMS,
  text: (_: NoVariant) => ({
    buffers: { strip: write('f32'), stats: write('vec2<f32>'), ...BIAS, ...PER_HEAD, ...STARTS },
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: START_READER + SCORE_READER + EXPONENTIAL + RELU + BESIDE,
    body: `
      ${STRIP_ROW}
      ${softmaxOfRow('scoreAt(base, j, h, position)', 'start', 'position + 1u', true)}
      let inverse = ${poisoned('(1.0 / sum)', 'poison')};
      ${overRow('exponential(scoreAt(base, j, h, position), top) * inverse', (w) => ({ 'strip[base + j]': w }))}
      if (lane == 0u) { stats[statsAt] = vec2<f32>(top, inverse); }`,
  }),
});

/**
 * spec §Backward: from rows of scale * q . k and of g = dO . v, w in place of the first and ds = p (m g - delta) in place
 * of the second, and the row's terms of the gradients of inputs [H], side by side. Whole rows are at hand, so delta is summed as it
 * is defined, and is exactly g where one key has all of p. Grid: rows x heads of the block.
 */
export const stripSoftmaxGrad = kernel({
  name: 'attention/softmaxGrad',
  params: STRIP_PARAMS,
  text: (_: NoVariant) => ({
    buffers: {
      strip: write('f32'),
      grads: write('f32'),
      stats: read('vec2<f32>'),
      terms: write('f32'),
      ...BIAS,
      ...PER_HEAD,
      ...STARTS,
    },
    workgroupSize: 'row',
    reductions: ['total'],
    declarations: START_READER + SCORE_READER + EXPONENTIAL + RELU + BESIDE,
    body: `
      ${STRIP_ROW}
      let stat = stats[statsAt];
      let poison = ${poisonOf('stat.y')};
      var pulls = 0.0;
      var gains = 0.0;
      for (var j = start + lane; j < position + 1u; j += rowThreads) {
        let p = exponential(scoreAt(base, j, h, position), stat.x) * stat.y;
        let g = select(0.0, grads[base + j], p + offset > 0.0);
        pulls += p * g;
        gains += g;
      }
      let delta = total(pulls, lane);
      let gain = total(gains, lane);
      ${overRow('exponential(scoreAt(base, j, h, position), stat.x) * stat.y', (w) => ({
        'strip[base + j]': w,
        'grads[base + j]': 'p * (select(0.0, grads[base + j], p + offset > 0.0) - delta)',
      }))}
      if (lane == 0u) {
        ${PER_HEAD_NAMES.map((name, i) => `terms[${PER_HEAD_NAMES.length}u * statsAt + ${i}u] = ${GRADIENT_TERMS[name]};`).join('\n        ')}
      }`,
  }),
});

/**
 * Parts of dbias: sums of ds at a distance over the group's rows, [heads of the block, groups, width]. Grid: x over
 * distances, y = groups of rows, z = heads of the block.
 */
export const stripDiagonals = kernel({
  name: 'attention/diagonals',
  params: STRIP_PARAMS,
  text: (_: NoVariant) => ({
    buffers: { grads: read('f32'), partial: write('f32'), ...STARTS },
    workgroupSize: ELEMENTWISE_THREADS,
    declarations: START_READER,
    body: `
      let d = group.x * ${ELEMENTWISE_THREADS}u + lane;
      if (d >= params.biasWidth) { return; }
      ${headPlaces('group.z')}
      let end = min((group.y + 1u) * ${GROUP}u, params.rowCount);
      var sum = 0.0;
      for (var r = group.y * ${GROUP}u; r < end; r++) {
        let position = params.blockRow + r + qOffset;
        if (position >= d + startOf(batch, r)) { sum += grads[stripBase + r * params.stripWidth + position - d]; }
      }
      partial[(group.z * groups.y + group.y) * params.biasWidth + d] = sum;`,
  }),
});

/** dbias[h, d] (+)= the block's parts in order; 0 past their width. Grid over `biases` = H * W. */
export const stripBiasSum = kernel({
  name: 'attention/biasSum',
  params: { ...STRIP_PARAMS, biases: 'u32' },
  text: (_: NoVariant) => ({
    buffers: { partial: read('f32'), dbias: write('f32') },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('biases')}
      let h = i / params.window;
      let d = i % params.window;
      let rowGroups = (params.rowCount + ${GROUP - 1}u) / ${GROUP}u;
      var sum = 0.0;
      if (params.accumulate != 0u) { sum = dbias[i]; }
      if (d < params.biasWidth) {
        let first = (h + params.heads - params.firstHead % params.heads) % params.heads;
        for (var z = first; z < params.headCount; z += params.heads) {
          for (var t = 0u; t < rowGroups; t++) { sum += partial[(z * rowGroups + t) * params.biasWidth + d]; }
        }
      }
      dbias[i] = sum;`,
  }),
});
