import {
  ATTENTION_PARAMS,
  type AttentionVariant,
  accumulateOutputs,
  attentionThreads,
  blockOfInvocation,
  declareOutputs,
  HEAD_BASES,
  KEY_PLACE,
  type OutputMapping,
  outputMapping,
  outputPlace,
  overQuadsByKey,
  putStaged,
  QUAD_OF_QUERIES,
  QUERIES,
  QUERY_PLACE,
  scoreProduct,
  staged,
  storeBlock,
  storeOutputs,
  tileDeclarations,
  vec4Of,
} from './attention-tile.ts';
import { type KernelSource, read, write } from './module.ts';
import { unroll } from './text.ts';

/** Below every score; WGSL does not promise infinities. */
const LOWEST = 'vec4<f32>(-3.0e38)';

const Q_ROWS = { ...QUERY_PLACE, name: 'q' };
const K_ROWS = { ...KEY_PLACE, name: 'k' };
const V_ROWS = { ...KEY_PLACE, name: 'v' };

/** Grid of the kernels over query tiles: x = tiles, the longest rows first; y = heads; z = batch. */
const queryTile = (variant: AttentionVariant): string => `
let rowStart = (groups.x - 1u - group.x) * ${QUERIES}u;
let h = group.y;
let b = group.z;
${HEAD_BASES}
${blockOfInvocation(variant.tile)}
${QUAD_OF_QUERIES}
let lastKey = min(rowStart + ${QUERIES - 1}u, params.queryLength - 1u) + qOffset;`;

/**
 * Pass 1. Leaves for each query row, [B, H, L] as vec4: the row maximum of s, 1 / sum exp(s - maximum), tau / n and the
 * first key that it attends. The first two together are lse of SPEC.md "Forward" without the rounding of their sum;
 * indices are exact in f32 below 2^24, more than any binding holds keys. Each invocation keeps a running pair for its
 * queries over its share of the keys; they meet once, at the end.
 */
export function attentionStats(variant: AttentionVariant): KernelSource {
  const threads = attentionThreads(variant.tile);
  const shares = (threads * 4) / QUERIES;
  return {
    buffers: [
      read('q', vec4Of(variant.dtype)),
      read('k', vec4Of(variant.dtype)),
      read('bias', 'f32'),
      read('tau', 'f32'),
      read('starts', 'i32'),
      write('stats', 'vec4<f32>'),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: `
${tileDeclarations(variant, ['q', 'k'])}
fn startOf(b: u32, row: u32) -> u32 {
  if (params.hasStarts == 0u) { return 0u; }
  return u32(starts[b * params.queryLength + row]);
}`,
    body: `
${queryTile(variant)}
let firstKeys = vec4<u32>(${['x', 'y', 'z', 'w'].map((e) => `startOf(b, quadRows.${e})`).join(', ')});
var top = ${LOWEST};
var sum = vec4<f32>();
for (var keyStart = startOf(b, rowStart) / ${variant.tile.keys}u * ${variant.tile.keys}u; keyStart <= lastKey; keyStart += ${variant.tile.keys}u) {
${scoreProduct(variant, 'byKey', Q_ROWS, K_ROWS)}
${storeBlock(variant.tile, 'byKey')}
workgroupBarrier();
${overQuadsByKey(
  variant.tile,
  `let next = max(top, select(${LOWEST}, s, attended));
sum = sum * exp(top - next) + select(vec4<f32>(), exp(s - next), attended);
top = next;`,
)}
}
workgroupBarrier();
weights[lane] = top;
${putStaged(variant.tile, 'lane', 'sum')}
workgroupBarrier();
if (lane < ${QUERIES / 4}u) {
var wholeTop = top;
${unroll(shares - 1, (i) => `wholeTop = max(wholeTop, weights[lane + ${(QUERIES / 4) * (i + 1)}u]);`)}
var whole = sum * exp(top - wholeTop);
${unroll(shares - 1, (i) => `whole += ${staged(variant.tile, `lane + ${(QUERIES / 4) * (i + 1)}u`)} * exp(weights[lane + ${(QUERIES / 4) * (i + 1)}u] - wholeTop);`)}
let inverse = 1.0 / whole;
var offset = vec4<f32>();
if (params.hasTau != 0u) { offset = tau[h] / vec4<f32>(positions - firstKeys + 1u); }
for (var i = 0u; i < 4u; i++) {
let row = rowStart + 4u * quad + i;
if (row < params.queryLength) { stats[statsBase + row] = vec4<f32>(wholeTop[i], inverse[i], offset[i], f32(firstKeys[i])); }
}
}`,
  };
}

/** What pass 1 left for the quad of queries, by kind: `tops`, `inverses`, `offsets`, `firstKeys`. */
export const quadStatistics = (read: (row: string) => string): string => `
${unroll(4, (i) => `let stat${i} = ${read(`(statsBase + quadRows[${i}])`)};`)}
let tops = vec4<f32>(stat0.x, stat1.x, stat2.x, stat3.x);
let inverses = vec4<f32>(stat0.y, stat1.y, stat2.y, stat3.y);
let offsets = vec4<f32>(stat0.z, stat1.z, stat2.z, stat3.z);
// A row that does not exist attends nothing: sums over queries have to leave it out.
let firstKeys = select(vec4<u32>(0xffffffffu), vec4<u32>(vec4<f32>(stat0.w, stat1.w, stat2.w, stat3.w)), tileRows == quadRows);`;

/**
 * Pass 2: o = w . v. For training it sums the two parts of o apart, r = (m p) . v and u = m . v with m = [w > 0], so that
 * o = r + (tau / n) u: the gradient needs both, and to take r from a rounded o loses what cancels (SPEC.md "Backward").
 */
export function attentionForward(variant: AttentionVariant, train: boolean): KernelSource {
  const threads = attentionThreads(variant.tile);
  const mapping = outputMapping(QUERIES, variant.headClass, threads);
  const element = vec4Of(variant.dtype);
  const { keys } = variant.tile;
  return {
    buffers: [
      read('q', element),
      read('k', element),
      read('v', element),
      read('stats', 'vec4<f32>'),
      read('bias', 'f32'),
      write('output', element),
      ...(train ? [write('plainSum', 'vec4<f32>'), write('activeSum', 'vec4<f32>')] : []),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: tileDeclarations(variant, ['q', 'k', 'v']),
    body: `
${queryTile(variant)}
${quadStatistics((row) => `stats[${row}]`)}
${outputPlace(mapping)}
${declareOutputs(mapping, 'o')}
${train ? declareOutputs(mapping, 'u') : ''}
for (var keyStart = u32(stats[statsBase + rowStart].w) / ${keys}u * ${keys}u; keyStart <= lastKey; keyStart += ${keys}u) {
${scoreProduct(variant, 'byKey', Q_ROWS, K_ROWS)}
${storeBlock(variant.tile, 'byKey')}
workgroupBarrier();
${overQuadsByKey(
  variant.tile,
  train
    ? `let p = exp(s - tops) * inverses;
weights[at] = select(vec4<f32>(-1.0), p, attended & (p + offsets > vec4<f32>()));`
    : `// Keys that are not attended weigh 0, also when tau > 0.
weights[at] = select(vec4<f32>(), max(exp(s - tops) * inverses + offsets, vec4<f32>()), attended);`,
)}
${accumulateOutputs(variant, mapping, { depth: keys, lines: QUERIES }, 'o', V_ROWS, train ? 'u' : null)}
}
${train ? trainingOutputs(variant, mapping) : storeOutputs(variant.dtype, mapping, 'output', QUERY_PLACE, (i, c) => `o${i}_${c}`)}`,
  };
}

const trainingOutputs = (variant: AttentionVariant, mapping: OutputMapping): string => `
${unroll(mapping.lines, (i) => `let lineOffset${i} = stats[statsBase + min(rowStart + line + ${i}u, params.queryLength - 1u)].z;`)}
${storeOutputs('f32', mapping, 'plainSum', QUERY_PLACE, (i, c) => `o${i}_${c}`)}
${storeOutputs('f32', mapping, 'activeSum', QUERY_PLACE, (i, c) => `u${i}_${c}`)}
${storeOutputs(variant.dtype, mapping, 'output', QUERY_PLACE, (i, c) => `fma(vec4<f32>(lineOffset${i}), u${i}_${c}, o${i}_${c})`)}`;
