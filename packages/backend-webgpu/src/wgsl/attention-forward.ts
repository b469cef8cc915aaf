import {
  ATTENTION_PARAMS,
  type AttentionVariant,
  accumulateOutputs,
  attended,
  attentionThreads,
  biasReader,
  blockOfInvocation,
  declareOutputs,
  exchangeByKey,
  headBases,
  KEY_ROWS,
  LOCATE,
  optionalBuffers,
  outputMapping,
  outputPlace,
  overKeys,
  QUERIES,
  QUERY_PLACE,
  QUERY_ROWS,
  queryRows,
  scoreProduct,
  scoresFromProducts,
  startOf,
  storeOutputs,
  tileDeclarations,
  VALUE_ROWS,
  vec4Of,
} from './attention-tile.ts';
import { type KernelSource, read, write } from './module.ts';
import { range, unroll } from './text.ts';

/** Below every score; WGSL does not promise infinities. */
const LOWEST = '-3.0e38';

/** Grid of the kernels over query tiles: x = tiles, the longest rows first; y = heads; z = batch. */
const queryTile = (variant: AttentionVariant): string => `
let rowStart = (groups.x - 1u - group.x) * ${QUERIES}u;
let h = group.y;
let b = group.z;
${LOCATE}
${headBases(variant.headDim)}
${blockOfInvocation(variant.tile)}
${queryRows(variant)}
let firstKey = ${startOf(variant, 'rowStart')} / ${variant.tile.keys}u * ${variant.tile.keys}u;
let lastKey = min(rowStart + ${QUERIES - 1}u, params.queryLength - 1u) + qOffset;`;

/**
 * Pass 1: the row maximum of s and 1 / sum exp(s - maximum), which together are lse of SPEC.md "Forward" without the
 * rounding of their sum. Each invocation keeps its own running pair per query; they meet once, at the end.
 */
export function attentionStats(variant: AttentionVariant): KernelSource {
  const vectors = range(variant.tile.threadKeys / 4);
  const columns = variant.tile.keys / variant.tile.threadKeys;
  const max4 = (v: string): string => `max(max(${v}.x, ${v}.y), max(${v}.z, ${v}.w))`;
  return {
    buffers: [
      read('q', vec4Of(variant.dtype)),
      read('k', vec4Of(variant.dtype)),
      write('stats', 'vec2<f32>'),
      ...optionalBuffers({ ...variant, tau: false }),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: attentionThreads(variant.tile),
    declarations: `
${tileDeclarations(variant, ['q', 'k'], false)}
var<workgroup> partial: array<vec2<f32>, ${QUERIES * columns}>;
${biasReader(variant)}`,
    body: `
${queryTile(variant)}
${unroll(8, (i) => `var top${i} = ${LOWEST}; var sum${i} = 0.0;`)}
${overKeys(
  variant,
  `
${scoreProduct(variant, 's', QUERY_ROWS, KEY_ROWS)}
${scoresFromProducts(variant, 's')}
${unroll(
  8,
  (i) => `{
${vectors.map((j) => `let in${j} = ${attended(i, j)};\ns${i}_${j} = select(vec4<f32>(${LOWEST}), s${i}_${j}, in${j});`).join('\n')}
let top = max(top${i}, ${vectors.map((j) => max4(`s${i}_${j}`)).reduce((x, y) => `max(${x}, ${y})`)});
${vectors.map((j) => `let e${j} = select(vec4<f32>(), exp(s${i}_${j} - top), in${j});`).join('\n')}
sum${i} = sum${i} * exp(top${i} - top) + dot(${vectors.map((j) => `e${j}`).join(' + ')}, vec4<f32>(1.0));
top${i} = top;
}`,
)}`,
)}
${unroll(8, (i) => `partial[(ty * 8u + ${i}u) * ${columns}u + tx] = vec2<f32>(top${i}, sum${i});`)}
workgroupBarrier();
for (var r = lane; r < ${QUERIES}u; r += ${attentionThreads(variant.tile)}u) {
var top = ${LOWEST};
for (var c = 0u; c < ${columns}u; c++) { top = max(top, partial[r * ${columns}u + c].x); }
var sum = 0.0;
for (var c = 0u; c < ${columns}u; c++) {
let one = partial[r * ${columns}u + c];
sum += one.y * exp(one.x - top);
}
if (rowStart + r < params.queryLength) { stats[statsBase + rowStart + r] = vec2<f32>(top, 1.0 / sum); }
}`,
  };
}

/** p of four keys from scores and the row's statistics, 0 where not attended. */
const probability = (i: number, j: number): string =>
  `select(vec4<f32>(), exp(s${i}_${j} - stat${i}.x) * stat${i}.y, ${attended(i, j)})`;

/** w = max(p + tau / n, 0), 0 where not attended (also for tau > 0). `p` is a vec4 expression. */
const elastic = (variant: AttentionVariant, i: number, j: number, p: string): string =>
  variant.tau ? `select(vec4<f32>(), max(${p} + offset${i}, vec4<f32>()), ${attended(i, j)})` : p;

/** `stat${i}` (maximum, 1 / sum) and `offset${i}` (tau / n) for each query of the block. */
const rowStatistics = (variant: AttentionVariant): string =>
  unroll(8, (i) => {
    const offset = variant.tau ? `let offset${i} = tau[h] / f32(i32(position${i}) - i32(start${i}) + 1);` : '';
    return `let stat${i} = stats[statsBase + min(row${i}, params.queryLength - 1u)];\n${offset}`;
  });

/** Pass 2: o = w . v and, for training, u = [w > 0] . v (SPEC.md "Backward"). */
export function attentionForward(variant: AttentionVariant, withActive: boolean): KernelSource {
  const threads = attentionThreads(variant.tile);
  const mapping = outputMapping(QUERIES, variant.headDim, threads);
  const element = vec4Of(variant.dtype);
  const vectors = range(variant.tile.threadKeys / 4);
  return {
    buffers: [
      read('q', element),
      read('k', element),
      read('v', element),
      read('stats', 'vec2<f32>'),
      write('output', element),
      // u is summed in f32 and decides delta by cancellation, so it is kept in f32 whatever the operands' type.
      ...(withActive ? [write('activeSum', 'vec4<f32>')] : []),
      ...optionalBuffers(variant),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: `${tileDeclarations(variant, ['q', 'k', 'v'], true)}\n${biasReader(variant)}`,
    body: `
${queryTile(variant)}
${outputPlace(mapping)}
${rowStatistics(variant)}
${declareOutputs(mapping, 'o')}
${withActive ? declareOutputs(mapping, 'u') : ''}
${overKeys(
  variant,
  `
${scoreProduct(variant, 's', QUERY_ROWS, KEY_ROWS)}
${scoresFromProducts(variant, 's')}
${unroll(8, (i) => vectors.map((j) => `s${i}_${j} = ${elastic(variant, i, j, probability(i, j))};`).join(' '))}
${exchangeByKey(variant, 's')}
${accumulateOutputs(variant, mapping, { depth: variant.tile.keys, lines: QUERIES }, 'o', VALUE_ROWS, withActive ? 'u' : null)}
`,
)}
${storeOutputs(variant, mapping, 'o', 'output', QUERY_PLACE, null)}
${withActive ? storeOutputs({ ...variant, dtype: 'f32' }, mapping, 'u', 'activeSum', QUERY_PLACE, null) : ''}`,
  };
}
