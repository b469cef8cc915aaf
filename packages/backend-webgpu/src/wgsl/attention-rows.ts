import { GROUP, headPlaces, START_READER, STRIP_PARAMS } from './attention-strip.ts';
import { type KernelSource, read, write } from './module.ts';
import { EXPONENTIAL, poisoned, poisonOf, RELU } from './numbers.ts';
import { ROW_THREADS, softmaxOfRow } from './reduce.ts';

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
var offset = 0.0;
if (params.hasTau != 0u) { offset = tau[h] / count; }
let statsAt = (batch * params.heads + h) * params.queryLength + params.blockRow + r;`;

/** s = scale * q . k + bias; `strip` holds the first term. */
const scoreReader = (strip: string): string => `
fn scoreAt(base: u32, key: u32, h: u32, position: u32) -> f32 {
  let distance = position - key;
  var score = ${strip}[base + key];
  if (distance < params.window) { score += bias[h * params.window + distance]; }
  return score;
}`;

const overKeys = (first: string, end: string, code: string): string =>
  `for (var j = ${first} + lane; j < ${end}; j += rowThreads) {\n${code}\n}`;

/**
 * spec §Forward: turns a row of scale * q . k into w = max(p + tau / n, 0), and keeps the row's maximum of s and
 * 1 / sum exp(s - maximum), which together are lse without the rounding of their sum. Grid: rows x heads of the block.
 */
export function stripSoftmax(): KernelSource {
  return {
    buffers: [
      write('strip', 'f32'),
      write('stats', 'vec2<f32>'),
      read('bias', 'f32'),
      read('tau', 'f32'),
      read('starts', 'i32'),
    ],
    params: STRIP_PARAMS,
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: START_READER + scoreReader('strip') + EXPONENTIAL + RELU,
    body: `
${STRIP_ROW}
${softmaxOfRow('scoreAt(base, j, h, position)', 'start', 'position + 1u')}
let inverse = ${poisoned('(1.0 / sum)', 'poison')};
${overKeys(
  'firstKey',
  'endKey',
  `var w = 0.0;
// Keys that are not attended weigh 0, also when tau > 0.
if (j >= start && j <= position) {
w = ${poisoned('relu(exponential(scoreAt(base, j, h, position), top) * inverse + offset)', 'poison')};
}
strip[base + j] = w;`,
)}
if (lane == 0u) { stats[statsAt] = vec2<f32>(top, inverse); }`,
  };
}

/**
 * spec §Backward: from rows of scale * q . k and of g = dO . v, w in place of the first and ds = p (m g - delta) in place
 * of the second, and the row's term of dtau. Whole rows are at hand, so delta is summed as it is defined, and is exactly g
 * where one key has all of p. Grid: rows x heads of the block.
 */
export function stripSoftmaxGrad(): KernelSource {
  return {
    buffers: [
      write('strip', 'f32'),
      write('grads', 'f32'),
      read('stats', 'vec2<f32>'),
      write('tauTerms', 'f32'),
      read('bias', 'f32'),
      read('tau', 'f32'),
      read('starts', 'i32'),
    ],
    params: STRIP_PARAMS,
    workgroupSize: 'row',
    reductions: ['total'],
    declarations: START_READER + scoreReader('strip') + EXPONENTIAL + RELU,
    body: `
${STRIP_ROW}
let stat = stats[statsAt];
let poison = ${poisonOf('stat.y')};
var pulls = 0.0;
var gains = 0.0;
${overKeys(
  'start',
  'position + 1u',
  `let p = exponential(scoreAt(base, j, h, position), stat.x) * stat.y;
let g = select(0.0, grads[base + j], p + offset > 0.0);
pulls += p * g;
gains += g;`,
)}
let delta = total(pulls, lane);
let gain = total(gains, lane);
${overKeys(
  'firstKey',
  'endKey',
  `var w = 0.0;
var ds = 0.0;
if (j >= start && j <= position) {
let p = exponential(scoreAt(base, j, h, position), stat.x) * stat.y;
w = ${poisoned('relu(p + offset)', 'poison')};
ds = ${poisoned('(p * (select(0.0, grads[base + j], p + offset > 0.0) - delta))', 'poison')};
}
strip[base + j] = w;
grads[base + j] = ds;`,
)}
if (lane == 0u) { tauTerms[statsAt] = gain / count; }`,
  };
}

/**
 * Parts of dbias: sums of ds at a distance over the group's rows, [heads of the block, groups, width]. Grid: x over
 * distances, y = groups of rows, z = heads of the block.
 */
export function stripDiagonals(): KernelSource {
  return {
    buffers: [read('grads', 'f32'), write('partial', 'f32'), read('starts', 'i32')],
    params: STRIP_PARAMS,
    workgroupSize: ROW_THREADS,
    declarations: START_READER,
    body: `
let d = group.x * ${ROW_THREADS}u + lane;
if (d >= params.biasWidth) { return; }
${headPlaces('group.z')}
let end = min((group.y + 1u) * ${GROUP}u, params.rowCount);
var sum = 0.0;
for (var r = group.y * ${GROUP}u; r < end; r++) {
let position = params.blockRow + r + qOffset;
if (position >= d + startOf(batch, r)) { sum += grads[stripBase + r * params.stripWidth + position - d]; }
}
partial[(group.z * groups.y + group.y) * params.biasWidth + d] = sum;`,
  };
}

/** dbias[h, d] (+)= the block's parts in order; 0 past their width. Grid over H * W. */
export function stripBiasSum(): KernelSource {
  return {
    buffers: [read('partial', 'f32'), write('dbias', 'f32')],
    params: STRIP_PARAMS,
    workgroupSize: ROW_THREADS,
    body: `
let id = (group.y * groups.x + group.x) * ${ROW_THREADS}u + lane;
if (id >= params.heads * params.window) { return; }
let h = id / params.window;
let d = id % params.window;
let rowGroups = (params.rowCount + ${GROUP - 1}u) / ${GROUP}u;
var sum = 0.0;
if (params.accumulate != 0u) { sum = dbias[id]; }
if (d < params.biasWidth) {
for (var z = (h + params.heads - params.firstHead % params.heads) % params.heads; z < params.headCount; z += params.heads) {
for (var t = 0u; t < rowGroups; t++) { sum += partial[(z * rowGroups + t) * params.biasWidth + d]; }
}
}
dbias[id] = sum;`,
  };
}
