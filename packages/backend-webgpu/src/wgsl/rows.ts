import { type KernelSource, read, write } from './module.ts';
import { EXPONENTIAL, poisoned, poisonOf, RELU } from './numbers.ts';
import { ROW_THREADS, softmaxOfRow } from './reduce.ts';

/** Kernels with one workgroup per row. Rows beyond what a dimension allows wrap into y. */
const ROW = `
let row = group.y * groups.x + group.x;
if (row >= params.rows) { return; }
let base = row * params.width;`;
const overRow = (code: string): string => `for (var j = lane; j < params.width; j += rowThreads) {\n${code}\n}`;

/** y = x / sqrt(mean(x^2) + epsilon) * weight. */
export function rmsNorm(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('x', type), read('weight', type), write('y', type)],
    params: [
      ['rows', 'u32'],
      ['width', 'u32'],
      ['epsilon', 'f32'],
    ],
    workgroupSize: 'row',
    reductions: ['total'],
    body: `${ROW}
var squares = 0.0;
${overRow('let value = f32(x[base + j]);\nsquares += value * value;')}
let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
${overRow(`y[base + j] = ${type}(f32(x[base + j]) * factor * f32(weight[j]));`)}`,
  };
}

/**
 * With f = 1 / sqrt(mean(x^2) + epsilon): dx = f dy w - x f^3 mean(dy w x). Also keeps f of each row, for dweight.
 */
export function rmsNormGradInput(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('dy', type), read('x', type), read('weight', type), write('dx', type), write('factors', 'f32')],
    params: [
      ['rows', 'u32'],
      ['width', 'u32'],
      ['epsilon', 'f32'],
    ],
    workgroupSize: 'row',
    reductions: ['total'],
    body: `${ROW}
var squares = 0.0;
var products = 0.0;
${overRow(`let value = f32(x[base + j]);
squares += value * value;
products += f32(dy[base + j]) * f32(weight[j]) * value;`)}
let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
let pull = total(products, lane) / f32(params.width) * factor * factor;
${overRow(`dx[base + j] = ${type}(factor * (f32(dy[base + j]) * f32(weight[j]) - f32(x[base + j]) * pull));`)}
if (lane == 0u) { factors[row] = factor; }`,
  };
}

/** Part of dweight = sum over rows of dy x f: a column per invocation, `rowsPerGroup` rows per workgroup in y. */
export function rmsNormGradWeight(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('dy', type), read('x', type), read('factors', 'f32'), write('partial', 'f32')],
    params: [
      ['rows', 'u32'],
      ['width', 'u32'],
      ['rowsPerGroup', 'u32'],
    ],
    workgroupSize: ROW_THREADS,
    body: `
let j = group.x * ${ROW_THREADS}u + lane;
if (j >= params.width) { return; }
let first = group.y * params.rowsPerGroup;
let end = min(first + params.rowsPerGroup, params.rows);
var sum = 0.0;
for (var r = first; r < end; r++) {
sum += f32(dy[r * params.width + j]) * f32(x[r * params.width + j]) * factors[r];
}
partial[group.y * params.width + j] = sum;`,
  };
}

/** lse of each row, and its loss lse - logits[target] (0 in ignored rows). */
export function crossEntropyRows(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('logits', type), read('targets', 'i32'), write('lse', 'f32'), write('losses', 'f32')],
    params: [
      ['rows', 'u32'],
      ['width', 'u32'],
      ['ignoreIndex', 'u32'],
    ],
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    body: `${ROW}
${softmaxOfRow('f32(logits[base + j])', '0u', 'params.width')}
if (lane == 0u) {
let logSum = log(sum);
let wanted = targets[row];
lse[row] = ${poisoned('(top + logSum)', 'poison')};
var loss = 0.0;
if (wanted != bitcast<i32>(params.ignoreIndex)) {
loss = ${poisoned('((top - f32(logits[base + u32(wanted)])) + logSum)', 'poison')};
}
losses[row] = loss;
}`,
  };
}

/** dlogits = dloss / count * (exp(logits - lse) - onehot); 0 in ignored rows. */
export function crossEntropyGrad(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [
      read('dLoss', 'f32'),
      read('logits', type),
      read('targets', 'i32'),
      read('lse', 'f32'),
      write('dlogits', type),
    ],
    params: [
      ['rows', 'u32'],
      ['width', 'u32'],
      ['ignoreIndex', 'u32'],
      ['inverseCount', 'f32'],
    ],
    workgroupSize: 'row',
    declarations: EXPONENTIAL,
    body: `${ROW}
let wanted = targets[row];
let ignored = wanted == bitcast<i32>(params.ignoreIndex);
let factor = dLoss[0] * params.inverseCount;
let rowLse = lse[row];
let poison = ${poisonOf('rowLse')};
${overRow(`let p = ${poisoned('exponential(f32(logits[base + j]), rowLse)', 'poison')};
dlogits[base + j] = ${type}(select(factor * (p - select(0.0, 1.0, i32(j) == wanted)), 0.0, ignored));`)}`,
  };
}

/** Bounds of the keys that a row of [B, H, L, S] attends, spec §Shapes and symbols: `start` to `end` (exclusive). */
const ATTENDED_KEYS = `
let r = row % params.queryLength;
let h = (row / params.queryLength) % params.heads;
let b = row / (params.queryLength * params.heads);
var start = 0u;
if (params.hasStarts != 0u) { start = u32(starts[b * params.queryLength + r]); }
let end = r + params.width - params.queryLength + 1u;
var offset = 0.0;
if (params.hasTau != 0u) { offset = tau[h] / f32(end - start); }`;

const ELASTIC_PARAMS: KernelSource['params'] = [
  ['rows', 'u32'],
  ['width', 'u32'],
  ['queryLength', 'u32'],
  ['heads', 'u32'],
  ['hasTau', 'u32'],
  ['hasStarts', 'u32'],
];

/** spec §Forward for given scores: w = max(p + tau / n, 0), 0 where not attended. */
export function elasticSoftmax(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('scores', type), write('weights', type), read('tau', 'f32'), read('starts', 'i32')],
    params: ELASTIC_PARAMS,
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: EXPONENTIAL + RELU,
    body: `${ROW}
${ATTENDED_KEYS}
${softmaxOfRow('f32(scores[base + j])', 'start', 'end')}
let inverse = 1.0 / sum;
${overRow(`var w = 0.0;
if (j >= start && j < end) {
w = ${poisoned('relu(exponential(f32(scores[base + j]), top) * inverse + offset)', 'poison')};
}
weights[base + j] = ${type}(w);`)}`,
  };
}

/** spec §Backward for given scores: ds = p (m g - delta), and the row's term of dtau. */
export function elasticSoftmaxGrad(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [
      read('dWeights', type),
      read('scores', type),
      write('dscores', type),
      write('tauTerms', 'f32'),
      read('tau', 'f32'),
      read('starts', 'i32'),
    ],
    params: ELASTIC_PARAMS,
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: EXPONENTIAL,
    body: `${ROW}
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
${overRow(`var ds = 0.0;
if (j >= start && j < end) {
let p = exponential(f32(scores[base + j]), top) * inverse;
ds = ${poisoned('(p * (select(0.0, f32(dWeights[base + j]), p + offset > 0.0) - delta))', 'poison')};
}
dscores[base + j] = ${type}(ds);`)}
if (lane == 0u) { tauTerms[row] = gain / f32(end - start); }`,
  };
}

/** s = scale * q . k + bias as [B, H, L, S], one invocation per pair: for looking at weights, not for speed. */
export function denseScores(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('q', type), read('k', type), write('scores', 'f32'), read('bias', 'f32')],
    params: [
      ['pairs', 'u32'],
      ['queryLength', 'u32'],
      ['keyLength', 'u32'],
      ['keyCapacity', 'u32'],
      ['heads', 'u32'],
      ['kvHeads', 'u32'],
      ['headDim', 'u32'],
      ['window', 'u32'],
      ['scale', 'f32'],
    ],
    workgroupSize: ROW_THREADS,
    body: `
let id = (group.y * groups.x + group.x) * ${ROW_THREADS}u + lane;
if (id >= params.pairs) { return; }
let j = id % params.keyLength;
let r = (id / params.keyLength) % params.queryLength;
let h = (id / (params.keyLength * params.queryLength)) % params.heads;
let b = id / (params.keyLength * params.queryLength * params.heads);
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
scores[id] = score;`,
  };
}

/** Rows of weight [V, C] at ids. Grid over the elements of the result. */
export function embedding(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('weight', type), read('ids', 'i32'), write('y', type)],
    params: [
      ['elements', 'u32'],
      ['width', 'u32'],
    ],
    workgroupSize: ROW_THREADS,
    body: `
let id = (group.y * groups.x + group.x) * ${ROW_THREADS}u + lane;
if (id >= params.elements) { return; }
y[id] = weight[u32(ids[id / params.width]) * params.width + id % params.width];`,
  };
}

/**
 * Links equal ids: next[t] is the following place of the same id (or `count`), first[t] whether none precedes. Makes a
 * sum by id in the order of the ids possible without atomics.
 */
export function linkIds(): KernelSource {
  return {
    buffers: [read('ids', 'i32'), write('links', 'vec2<u32>')],
    params: [['count', 'u32']],
    workgroupSize: ROW_THREADS,
    body: `
let t = (group.y * groups.x + group.x) * ${ROW_THREADS}u + lane;
if (t >= params.count) { return; }
let id = ids[t];
var next = t + 1u;
while (next < params.count && ids[next] != id) { next++; }
var before = t;
while (before > 0u && ids[before - 1u] != id) { before--; }
links[t] = vec2<u32>(next, select(0u, 1u, before == 0u));`,
  };
}

/** dweight[ids[t]] = sum of the rows of dy with that id, by the workgroups of first places. Grid: x = places. */
export function embeddingGrad(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('dy', type), read('ids', 'i32'), read('links', 'vec2<u32>'), write('dweight', type)],
    params: [
      ['count', 'u32'],
      ['width', 'u32'],
    ],
    workgroupSize: ROW_THREADS,
    body: `
let place = group.y * groups.x + group.x;
if (place >= params.count) { return; }
if (links[place].y == 0u) { return; }
let base = u32(ids[place]) * params.width;
for (var j = lane; j < params.width; j += ${ROW_THREADS}u) {
var sum = 0.0;
for (var t = place; t < params.count; t = links[t].x) { sum += f32(dy[t * params.width + j]); }
dweight[base + j] = ${type}(sum);
}`,
  };
}
