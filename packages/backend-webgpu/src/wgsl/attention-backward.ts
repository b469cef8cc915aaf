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
  exchangeByQuery,
  headBases,
  KEY_ROWS,
  LOCATE,
  outputMapping,
  outputPlace,
  overKeys,
  QUERIES,
  QUERY_PLACE,
  QUERY_ROWS,
  scoreProduct,
  scoresFromProducts,
  storeOutputs,
  tileDeclarations,
  VALUE_ROWS,
  vec4Of,
} from './attention-tile.ts';
import { type KernelSource, read, write } from './module.ts';
import { range, unroll } from './text.ts';

const OUTPUT_GRAD_ROWS = { ...QUERY_ROWS, name: 'dOutput' };

/**
 * Per query row what the gradient kernels need, in one buffer (they would bind more than 8 otherwise), as two vec4:
 * (row maximum, 1 / sum, delta, tau / n) and (first key, 0, 0, 0). Also the row's term of dtau, dO . u / n.
 * With u: delta = dO . (o - (tau / n) u); without tau, delta = dO . o. SPEC.md "Backward". Grid: rows of [B, L, H].
 */
export function attentionDelta(variant: Omit<AttentionVariant, 'tile' | 'bias'>): KernelSource {
  const { headDim, dtype } = variant;
  return {
    buffers: [
      read('output', vec4Of(dtype)),
      read('dOutput', vec4Of(dtype)),
      read('stats', 'vec2<f32>'),
      write('rows', 'vec4<f32>'),
      ...(variant.tau ? [read('activeSum', 'vec4<f32>'), read('tau', 'f32'), write('tauTerms', 'f32')] : []),
      ...(variant.starts ? [read('starts', 'i32')] : []),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: 64,
    body: `
let id = (group.y * groups.x + group.x) * 64u + lane;
let h = id % params.heads;
let r = (id / params.heads) % params.queryLength;
let b = id / (params.heads * params.queryLength);
if (id >= params.rows) { return; }
let start = ${variant.starts ? 'u32(starts[b * params.queryLength + r])' : '0u'};
let position = r + params.keyLength - params.queryLength;
${variant.tau ? 'let offset = tau[h] / f32(position - start + 1u);' : 'let offset = 0.0;'}
var withOutput = 0.0;
var withActive = 0.0;
for (var d = 0u; d < ${headDim / 4}u; d++) {
let gradient = vec4<f32>(dOutput[id * ${headDim / 4}u + d]);
withOutput += dot(gradient, vec4<f32>(output[id * ${headDim / 4}u + d]));
${variant.tau ? `withActive += dot(gradient, activeSum[id * ${headDim / 4}u + d]);` : ''}
}
let at = (b * params.heads + h) * params.queryLength + r;
rows[2u * at] = vec4<f32>(stats[at], withOutput - offset * withActive, offset);
rows[2u * at + 1u] = vec4<f32>(f32(start), 0.0, 0.0, 0.0);
${variant.tau ? 'tauTerms[at] = withActive / f32(position - start + 1u);' : ''}`,
  };
}

/** `row`, `position`, `start`, `stat` (maximum, 1 / sum, delta, tau / n) of the 8 queries of the block. */
const rowsOfBlock = unroll(
  8,
  (i) => `let row${i} = rowStart + ty * 8u + ${i}u;
let position${i} = row${i} + qOffset;
let at${i} = 2u * (statsBase + min(row${i}, params.queryLength - 1u));
let stat${i} = rows[at${i}];
let start${i} = u32(rows[at${i} + 1u].x);`,
);

/** Scores become p, 0 where not attended. */
const probabilities = (variant: AttentionVariant): string =>
  unroll(8, (i) =>
    range(variant.tile.threadKeys / 4)
      .map((j) => `s${i}_${j} = select(vec4<f32>(), exp(s${i}_${j} - stat${i}.x) * stat${i}.y, ${attended(i, j)});`)
      .join('\n'),
  );

/** ds = p (m g - delta), m = [p + tau / n > 0]; `s` holds p and `g` dO . v. Where p is 0, so is ds. */
const scoreGradients = (variant: AttentionVariant): string =>
  unroll(8, (i) =>
    range(variant.tile.threadKeys / 4)
      .map(
        (j) =>
          `s${i}_${j} = s${i}_${j} * (select(vec4<f32>(), g${i}_${j}, s${i}_${j} + stat${i}.w > vec4<f32>()) - stat${i}.z);`,
      )
      .join('\n'),
  );

/**
 * dq = scale * ds . k, and the tile's part of dbias: partial sums [B, H, query tiles, width] that each workgroup owns.
 * An entry of dbias is always summed by the same invocation, in the order of the key tiles.
 */
export function attentionGradQuery(variant: AttentionVariant): KernelSource {
  const { keys } = variant.tile;
  const threads = attentionThreads(variant.tile);
  const mapping = outputMapping(QUERIES, variant.headDim, threads);
  const element = vec4Of(variant.dtype);
  const diagonals = `
if (rowStart + qOffset < params.window + keyStart + ${keys - 1}u) {
let base = i32(rowStart + qOffset) - i32(keyStart);
let first = max(base - ${keys - 1}, 0);
let limit = min(base + ${QUERIES}, i32(params.width));
for (var d = first + (i32(lane) - first % ${threads} + ${threads}) % ${threads}; d < limit; d += ${threads}) {
let shift = d - base;
let lowKey = max(-shift, 0);
let highKey = min(${QUERIES - 1} - shift, ${keys - 1});
var sum = 0.0;
for (var c = lowKey; c <= highKey; c++) {
let at = u32(c * ${QUERIES} + c + shift);
sum += weights[at / 4u][at % 4u];
}
dbias[biasBase + u32(d)] += sum;
}
}`;
  return {
    buffers: [
      read('q', element),
      read('k', element),
      read('v', element),
      read('dOutput', element),
      read('rows', 'vec4<f32>'),
      write('dq', element),
      ...(variant.bias ? [read('bias', 'f32'), write('dbias', 'f32')] : []),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: `${tileDeclarations(variant, ['q', 'k', 'v', 'dOutput'], true)}\n${biasReader(variant)}`,
    body: `
let rowTile = groups.x - 1u - group.x;
let rowStart = rowTile * ${QUERIES}u;
let h = group.y;
let b = group.z;
${LOCATE}
${headBases(variant.headDim)}
${blockOfInvocation(variant.tile)}
${rowsOfBlock}
${
  variant.bias
    ? `let biasBase = ((b * params.heads + h) * groups.x + rowTile) * params.width;
for (var d = lane; d < params.width; d += ${threads}u) { dbias[biasBase + d] = 0.0; }`
    : ''
}
${outputPlace(mapping)}
${declareOutputs(mapping, 'o')}
let firstKey = u32(rows[2u * (statsBase + rowStart) + 1u].x) / ${keys}u * ${keys}u;
let lastKey = min(rowStart + ${QUERIES - 1}u, params.queryLength - 1u) + qOffset;
${overKeys(
  variant,
  `
${scoreProduct(variant, 's', QUERY_ROWS, KEY_ROWS)}
${scoresFromProducts(variant, 's')}
${probabilities(variant)}
${scoreProduct(variant, 'g', OUTPUT_GRAD_ROWS, VALUE_ROWS)}
${scoreGradients(variant)}
${exchangeByKey(variant, 's')}
${accumulateOutputs(variant, mapping, { depth: keys, lines: QUERIES }, 'o', KEY_ROWS, null)}
${variant.bias ? diagonals : ''}`,
)}
${storeOutputs(variant, mapping, 'o', 'dq', QUERY_PLACE, 'params.scale')}`,
  };
}

/**
 * dk = scale * sum over queries of ds . q and dv = sum of w . dO, over all query heads of the key's group in order.
 * Grid: x = key tiles, y = kv heads, z = batch.
 */
export function attentionGradKey(variant: AttentionVariant): KernelSource {
  const { keys, threadKeys } = variant.tile;
  const threads = attentionThreads(variant.tile);
  const mapping = outputMapping(keys, variant.headDim, threads);
  const element = vec4Of(variant.dtype);
  const extent = { depth: QUERIES, lines: keys };
  const place = { base: 'kBase', start: 'keyStart', rows: 'params.keyLength', stride: 'kStride' };
  return {
    buffers: [
      read('q', element),
      read('k', element),
      read('v', element),
      read('dOutput', element),
      read('rows', 'vec4<f32>'),
      write('dk', element),
      write('dv', element),
      ...(variant.bias ? [read('bias', 'f32')] : []),
    ],
    params: ATTENTION_PARAMS,
    workgroupSize: threads,
    declarations: `${tileDeclarations(variant, ['q', 'k', 'v', 'dOutput'], true)}\n${biasReader(variant)}`,
    body: `
let keyStart = group.x * ${keys}u;
let b = group.z;
${blockOfInvocation(variant.tile)}
let keyPosition = keyStart + tx * ${threadKeys}u;
let lastKey = min(keyStart + ${keys - 1}u, params.keyLength - 1u);
${outputPlace(mapping)}
${declareOutputs(mapping, 'ok')}
${declareOutputs(mapping, 'ov')}
let groupSize = params.heads / params.kvHeads;
for (var h = group.y * groupSize; h < (group.y + 1u) * groupSize; h++) {
${LOCATE}
${headBases(variant.headDim)}
let firstRow = select(keyStart - qOffset, 0u, keyStart < qOffset) / ${QUERIES}u * ${QUERIES}u;
for (var rowStart = firstRow; rowStart < params.queryLength; rowStart += ${QUERIES}u) {
// Starts do not decrease, so no later row attends this tile either.
if (u32(rows[2u * (statsBase + rowStart) + 1u].x) > lastKey) { break; }
${rowsOfBlock}
let queryPosition = position0;
${scoreProduct(variant, 's', QUERY_ROWS, KEY_ROWS)}
${scoresFromProducts(variant, 's')}
${probabilities(variant)}
${exchangeByQuery(
  variant,
  (i, j) => `select(vec4<f32>(), max(s${i}_${j} + stat${i}.w, vec4<f32>()), ${attended(i, j)})`,
)}
${accumulateOutputs(variant, mapping, extent, 'ov', OUTPUT_GRAD_ROWS, null)}
${scoreProduct(variant, 'g', OUTPUT_GRAD_ROWS, VALUE_ROWS)}
${scoreGradients(variant)}
${exchangeByQuery(variant, (i, j) => `s${i}_${j}`)}
${accumulateOutputs(variant, mapping, extent, 'ok', QUERY_ROWS, null)}
}
}
let kBase = (b * params.keyCapacity * params.kvHeads + group.y) * ${variant.headDim}u;
let kStride = params.kvHeads * ${variant.headDim}u;
${storeOutputs(variant, mapping, 'ok', 'dk', place, 'params.scale')}
${storeOutputs(variant, mapping, 'ov', 'dv', place, null)}`,
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
