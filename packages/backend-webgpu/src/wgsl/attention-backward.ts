import { quadStatistics } from './attention-forward.ts';
import {
  ATTENTION_PARAMS,
  type AttentionVariant,
  accumulateOutputs,
  attentionThreads,
  blockOf,
  blockOfInvocation,
  declareOutputs,
  HEAD_BASES,
  KEY_PLACE,
  outputMapping,
  outputPlace,
  overBlock,
  overQuadsByKey,
  QUAD_OF_QUERIES,
  QUERIES,
  QUERY_PLACE,
  scoreProduct,
  storeBlock,
  storeOutputs,
  tileDeclarations,
  vec4Of,
} from './attention-tile.ts';
import { type KernelSource, read, write } from './module.ts';
import { range, unroll } from './text.ts';

const Q_ROWS = { ...QUERY_PLACE, name: 'q' };
const K_ROWS = { ...KEY_PLACE, name: 'k' };
const V_ROWS = { ...KEY_PLACE, name: 'v' };
const OUTPUT_GRAD_ROWS = { ...QUERY_PLACE, name: 'dOutput' };

/**
 * The gradient kernels' values per query row, [B, H, L] as two vec4: what pass 1 left, and (delta, 0, 0, 0). Also the
 * row's term of dtau, dO . u / n. SPEC.md "Backward" with o - (tau / n) u = sum m p v, which the forward pass kept:
 * delta = dO . plainSum. Grid: rows of [B, L, H].
 */
export function attentionDelta(dtype: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [
      read('plainSum', 'vec4<f32>'),
      read('dOutput', vec4Of(dtype)),
      read('stats', 'vec4<f32>'),
      read('activeSum', 'vec4<f32>'),
      write('rows', 'vec4<f32>'),
      write('tauTerms', 'f32'),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: 64,
    body: `
let id = (group.y * groups.x + group.x) * 64u + lane;
if (id >= params.rows) { return; }
let h = id % params.heads;
let r = (id / params.heads) % params.queryLength;
let b = id / (params.heads * params.queryLength);
let at = (b * params.heads + h) * params.queryLength + r;
let vectors = params.headDim / 4u;
let stat = stats[at];
var delta = 0.0;
var withActive = 0.0;
for (var d = 0u; d < vectors; d++) {
let gradient = vec4<f32>(dOutput[id * vectors + d]);
let value = plainSum[id * vectors + d];
if (params.hasTau != 0u) { withActive += dot(gradient, activeSum[id * vectors + d]); }
// In the order in which the tiled kernels sum dO . v, so that m g - delta is exactly 0 where one key has all of p.
delta = fma(gradient.w, value.w, fma(gradient.z, value.z, fma(gradient.y, value.y, fma(gradient.x, value.x, delta))));
}
rows[2u * at] = stat;
rows[2u * at + 1u] = vec4<f32>(delta, 0.0, 0.0, 0.0);
tauTerms[at] = withActive / f32(r + params.keyLength - params.queryLength - u32(stat.w) + 1u);`,
  };
}

/**
 * dq = scale * ds . k, and the tile's part of dbias: partial sums [B, H, query tiles, width] that each workgroup owns.
 * An entry of dbias is always summed by the same invocation, in the order of the key tiles. Grid as in the forward pass.
 */
export function attentionGradQuery(variant: AttentionVariant): KernelSource {
  const { tile } = variant;
  const { keys } = tile;
  const threads = attentionThreads(tile);
  const mapping = outputMapping(QUERIES, variant.headClass, threads);
  const element = vec4Of(variant.dtype);
  const block = blockOf(tile, 'byKey');
  return {
    buffers: [
      read('q', element),
      read('k', element),
      read('v', element),
      read('dOutput', element),
      read('rows', 'vec4<f32>'),
      read('bias', 'f32'),
      write('dq', element),
      write('dbias', 'f32'),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: `
${tileDeclarations(variant, ['q', 'k', 'v', 'dOutput'])}
var<workgroup> tileOffsets: array<vec4<f32>, ${QUERIES / 4}>;
var<workgroup> tileDeltas: array<vec4<f32>, ${QUERIES / 4}>;`,
    body: `
let rowTile = groups.x - 1u - group.x;
let rowStart = rowTile * ${QUERIES}u;
let h = group.y;
let b = group.z;
${HEAD_BASES}
${blockOfInvocation(tile)}
${QUAD_OF_QUERIES}
${quadStatistics((row) => `rows[2u * ${row}]`)}
if (lane < ${QUERIES / 4}u) {
tileOffsets[lane] = offsets;
tileDeltas[lane] = vec4<f32>(${range(4)
      .map((i) => `rows[2u * (statsBase + quadRows[${i}]) + 1u].x`)
      .join(', ')});
}
workgroupBarrier();
${unroll(block.vectors, (v) => `let offset${v} = tileOffsets[ty * ${block.vectors}u + ${v}u];\nlet delta${v} = tileDeltas[ty * ${block.vectors}u + ${v}u];`)}
let biasBase = ((b * params.heads + h) * groups.x + rowTile) * params.width;
for (var d = lane; d < params.width; d += ${threads}u) { dbias[biasBase + d] = 0.0; }
${outputPlace(mapping)}
${declareOutputs(mapping, 'o')}
let lastKey = min(rowStart + ${QUERIES - 1}u, params.queryLength - 1u) + qOffset;
for (var keyStart = u32(rows[2u * (statsBase + rowStart)].w) / ${keys}u * ${keys}u; keyStart <= lastKey; keyStart += ${keys}u) {
{
${scoreProduct(variant, 'byKey', Q_ROWS, K_ROWS)}
${storeBlock(tile, 'byKey')}
}
workgroupBarrier();
${overQuadsByKey(tile, 'weights[at] = select(vec4<f32>(), exp(s - tops) * inverses, attended);')}
${scoreProduct(variant, 'byKey', OUTPUT_GRAD_ROWS, V_ROWS)}
// ds = p (m g - delta), m = [p + tau / n > 0]; 0 where p is.
${overBlock(
  block,
  (line, v) => `{
let p = weights[${block.at(line, v)}];
weights[${block.at(line, v)}] = p * (select(vec4<f32>(), r${line}_${v}, p + offset${v} > vec4<f32>()) - delta${v});
}`,
)}
${accumulateOutputs(variant, mapping, { depth: keys, lines: QUERIES }, 'o', K_ROWS, null)}
${diagonals(keys, threads)}
}
${storeOutputs(variant.dtype, mapping, 'dq', QUERY_PLACE, (i, c) => `params.scale * o${i}_${c}`)}`,
  };
}

/** Adds the diagonals of the tile of ds to the partial sums of dbias, where they are inside of the window. */
const diagonals = (keys: number, threads: number): string => `
let base = i32(rowStart + qOffset) - i32(keyStart);
let limit = min(base + ${QUERIES}, i32(params.width));
let first = max(base - ${keys - 1}, 0);
for (var d = first + (i32(lane) - first % ${threads} + ${threads}) % ${threads}; d < limit; d += ${threads}) {
let shift = d - base;
let highKey = min(${QUERIES - 1} - shift, ${keys - 1});
var sum = 0.0;
for (var c = max(-shift, 0); c <= highKey; c++) {
let place = u32(c * ${QUERIES} + c + shift);
sum += weights[place / 4u][place % 4u];
}
dbias[biasBase + u32(d)] += sum;
}`;

/**
 * dk = scale * sum over queries of ds . q and dv = sum of w . dO, over all query heads of the key's group in order.
 * Grid: x = key tiles, y = kv heads, z = batch.
 */
export function attentionGradKey(variant: AttentionVariant): KernelSource {
  const { tile } = variant;
  const { keys } = tile;
  const threads = attentionThreads(tile);
  const mapping = outputMapping(keys, variant.headClass, threads);
  const element = vec4Of(variant.dtype);
  const block = blockOf(tile, 'byQuery');
  const extent = { depth: QUERIES, lines: keys };
  return {
    buffers: [
      read('q', element),
      read('k', element),
      read('v', element),
      read('dOutput', element),
      read('rows', 'vec4<f32>'),
      read('bias', 'f32'),
      write('dk', element),
      write('dv', element),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: `
${tileDeclarations(variant, ['q', 'k', 'v', 'dOutput'])}
var<workgroup> tileOffsets: array<f32, ${QUERIES}>;
var<workgroup> tileDeltas: array<f32, ${QUERIES}>;`,
    body: `
let keyStart = group.x * ${keys}u;
let b = group.z;
${blockOfInvocation(tile)}
let quad = lane % ${keys / 4}u;
let quadKeys = keyStart + 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
let lastKey = min(keyStart + ${keys - 1}u, params.keyLength - 1u);
${outputPlace(mapping)}
${declareOutputs(mapping, 'ok')}
${declareOutputs(mapping, 'ov')}
let groupSize = params.heads / params.kvHeads;
for (var h = group.y * groupSize; h < (group.y + 1u) * groupSize; h++) {
${HEAD_BASES}
let firstRow = select(keyStart - qOffset, 0u, keyStart < qOffset) / ${QUERIES}u * ${QUERIES}u;
for (var rowStart = firstRow; rowStart < params.queryLength; rowStart += ${QUERIES}u) {
// Starts do not decrease, so no later row attends this tile either.
if (u32(rows[2u * (statsBase + rowStart)].w) > lastKey) { break; }
{
${scoreProduct(variant, 'byQuery', Q_ROWS, K_ROWS)}
${storeBlock(tile, 'byQuery')}
}
workgroupBarrier();
// p, and -1 for pairs that are not attended: with tau > 0 an attended pair may have p = 0 and weigh something.
for (var t = lane / ${keys / 4}u; t < ${QUERIES}u; t += ${(threads * 4) / keys}u) {
let row = min(rowStart + t, params.queryLength - 1u);
let stat = rows[2u * (statsBase + row)];
let position = row + qOffset;
let at = t * ${keys / 4}u + quad;
let distances = position - quadKeys;
let s = weights[at] * params.scale + vec4<f32>(${range(4)
      .map((i) => `biasAt(h, distances[${i}])`)
      .join(', ')});
let attended = (quadKeys <= vec4<u32>(position)) & (quadKeys >= vec4<u32>(u32(stat.w)));
let exists = rowStart + t < params.queryLength;
weights[at] = select(vec4<f32>(-1.0), exp(s - stat.x) * stat.y, attended & vec4<bool>(exists));
if (quad == 0u) {
tileOffsets[t] = stat.z;
tileDeltas[t] = rows[2u * (statsBase + row) + 1u].x;
}
}
${scoreProduct(variant, 'byQuery', OUTPUT_GRAD_ROWS, V_ROWS)}
// The tile becomes w = max(p + tau / n, 0); the registers keep ds = p (m g - delta), m = [p + tau / n > 0].
${unroll(
  block.lines,
  (line) => `{
let offset = tileOffsets[ty * ${block.lines}u + ${line}u];
let delta = tileDeltas[ty * ${block.lines}u + ${line}u];
${unroll(
  block.vectors,
  (v) => `{
let p = weights[${block.at(line, v)}];
let shifted = p + offset;
weights[${block.at(line, v)}] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
r${line}_${v} = max(p, vec4<f32>()) * (select(vec4<f32>(), r${line}_${v}, shifted > vec4<f32>()) - delta);
}`,
)}
}`,
)}
{
${accumulateOutputs(variant, mapping, extent, 'ov', OUTPUT_GRAD_ROWS, null)}
}
workgroupBarrier();
${storeBlock(tile, 'byQuery')}
${accumulateOutputs(variant, mapping, extent, 'ok', Q_ROWS, null)}
}
}
let kBase = (b * params.keyCapacity * params.kvHeads + group.y) * params.headDim;
let kStride = params.kvHeads * params.headDim;
${storeOutputs(variant.dtype, mapping, 'dk', KEY_PLACE, (i, c) => `params.scale * ok${i}_${c}`)}
${storeOutputs(variant.dtype, mapping, 'dv', KEY_PLACE, (i, c) => `ov${i}_${c}`)}`,
  };
}

/** dbias[h, d] = the partial sums over batch and query tiles, in order; 0 past their width. Grid over H * W. */
export function attentionBiasSum(): KernelSource {
  return {
    buffers: [read('partial', 'f32'), write('dbias', 'f32')],
    params: [
      ['heads', 'u32'],
      ['window', 'u32'],
      ['width', 'u32'],
      ['batch', 'u32'],
      ['tiles', 'u32'],
    ],
    workgroupSize: 64,
    body: `
let id = (group.y * groups.x + group.x) * 64u + lane;
if (id >= params.heads * params.window) { return; }
let h = id / params.window;
let d = id % params.window;
var sum = 0.0;
if (d < params.width) {
for (var b = 0u; b < params.batch; b++) {
for (var t = 0u; t < params.tiles; t++) {
sum += partial[((b * params.heads + h) * params.tiles + t) * params.width + d];
}
}
}
dbias[id] = sum;`,
  };
}
