import { type KernelSource, read, write } from './module.ts';
import {
  accumulateProduct,
  addToResults,
  declareResults,
  type Operand,
  operandBindings,
  type ProductTile,
  productDeclarations,
  productThreads,
  type ResultPlace,
  storeResults,
} from './product.ts';

/**
 * Attention by score strips (spec §Exact algorithms): a block of query rows of some heads at a time, its scores
 * [heads, rows, keys] in a workspace of bounded size in f32. Forward: scores = scale q . k, the rows become w (attention-rows.ts),
 * o = w . v. Backward: scores again, g = dO . v, the rows become w and ds, then dq = scale ds . k, and over the blocks in
 * order dk += scale ds^T . q, dv += w^T . dO. So 2 + 5 products; kernels that keep scores on the chip and recompute them
 * need 4 + 7 (the statistics, o and u; then dq and dk, dv each from scores and g of their own).
 *
 * Count per score. Traffic: forward 16 bytes (written by the product, read and written by the rows, read by the product),
 * backward 40 (g too; ds is read by two products and, inside of the window, by dbias). Work: 4 D flops forward, 10 D backward
 * instead of 8 D and 14 D. For D = 64 that is 16 flops per byte, for D = 128 it is 32, in a workspace of 16 MiB (two in the
 * backward pass), which the L2 of large GPUs holds. A GPU that does more flops than that per byte of the cache the strip
 * lies in waits for it, and may be slower than with recomputation by at most that ratio over 1.6; any other gains, and
 * every kernel is a plain product with all registers for its block. So strips serve all adapters, and there is one path
 * to test. Counted, not measured: no GPU
 * was at hand. On llvmpipe, forward and backward at (1, 4, 1024, 64) took 456 ms, and the fused kernels 1082 ms (each beside
 * jax-js, 1599 and 1472 ms); the fused ones took 2 to 12 s each to compile, these 1 to 1.3.
 *
 * Rows go in groups of 64. A group's strip is valid from the first key of its first row, down to a multiple of 64, to
 * the last key of its last row, up to a multiple of 64 or the width of the strip; past the attended keys it is zero.
 * Products stay inside of that, which skips what is causally absent or before `starts`.
 */
export const GROUP = 64;

/** What decides the text of the strip products. */
export interface StripVariant {
  readonly tile: ProductTile;
  readonly dtype: 'f32' | 'f16';
}

/** Tiles have to divide GROUP. Heads of up to 32 take half as wide a tile for results [., D]. */
export function stripTiles(headDim: number, software: boolean): { scores: ProductTile; results: ProductTile } {
  const scores = { tileM: GROUP, tileN: GROUP, threadM: 8, threadN: 8, staged: !software, depth: software ? 1 : 16 };
  return { scores, results: headDim <= 32 ? { ...scores, tileN: 32 } : scores };
}

/** Parameters that all kernels on strips share. A block is heads `firstHead`.. of [B, H] x rows `blockRow`.. of L. */
export const STRIP_PARAMS: KernelSource['params'] = [
  ['queryLength', 'u32'],
  ['keyLength', 'u32'],
  ['keyCapacity', 'u32'],
  ['heads', 'u32'],
  ['kvHeads', 'u32'],
  ['headDim', 'u32'],
  ['window', 'u32'],
  ['hasTau', 'u32'],
  ['hasStarts', 'u32'],
  ['firstHead', 'u32'],
  ['headCount', 'u32'],
  // Query heads of the block per kv head.
  ['groupHeads', 'u32'],
  ['blockRow', 'u32'],
  ['rowCount', 'u32'],
  // Keys per row of the strip: a multiple of 4.
  ['stripWidth', 'u32'],
  // dbias is summed for this many distances.
  ['biasWidth', 'u32'],
  // Whether results are added to what an earlier block left.
  ['accumulate', 'u32'],
  ['factor', 'f32'],
];

/** Places of head `z` of the block, as elements. */
export const headPlaces = (z: string): string => `
let batch = (params.firstHead + ${z}) / params.heads;
let h = (params.firstHead + ${z}) % params.heads;
let kvHead = h / (params.heads / params.kvHeads);
let qOffset = params.keyLength - params.queryLength;
let stripBase = ${z} * params.rowCount * params.stripWidth;
let rowBase = ((batch * params.queryLength + params.blockRow) * params.heads + h) * params.headDim;
let keyBase = (batch * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;`;

export const START_READER = `
fn startOf(batch: u32, row: u32) -> u32 {
  if (params.hasStarts == 0u) { return 0u; }
  return u32(starts[batch * params.queryLength + params.blockRow + row]);
}`;

const ROW_STRIDE = 'params.heads * params.headDim';
const KEY_STRIDE = 'params.kvHeads * params.headDim';

/**
 * strip = factor * a . b^T for rows a of [B, L, H, D] (q or dO) and b of [B, capacity, Hkv, D] (k or v), where a tile has
 * attended pairs. Grid: x = key tiles of the strip, y = row tiles of the block, z = heads of the block.
 */
export function stripScores({ tile, dtype }: StripVariant): KernelSource {
  const a: Operand = {
    name: 'a',
    contiguous: 'depth',
    aligned: true,
    base: 'rowBase',
    stride: ROW_STRIDE,
    outer: 'params.rowCount',
  };
  const b: Operand = { ...a, name: 'b', base: 'keyBase', stride: KEY_STRIDE, outer: 'params.keyLength' };
  return {
    buffers: [...operandBindings(tile, a, b, [dtype, dtype]), write('strip', 'vec4<f32>'), read('starts', 'i32')],
    params: STRIP_PARAMS,
    workgroupSize: productThreads(tile),
    declarations: productDeclarations(tile, a, b) + START_READER,
    body: `
${headPlaces('group.z')}
let rowStart = group.y * ${tile.tileM}u;
let columnStart = group.x * ${tile.tileN}u;
let lastRow = min(rowStart + ${tile.tileM}u, params.rowCount) - 1u;
if (columnStart > params.blockRow + lastRow + qOffset || columnStart + ${tile.tileN}u <= startOf(batch, rowStart)) { return; }
${declareResults(tile, 'rowStart', 'columnStart')}
${accumulateProduct(tile, a, b, '0u', 'params.headDim')}
${storeResults(tile, {
  name: 'strip',
  element: 'vec4<f32>',
  base: 'stripBase',
  stride: 'params.stripWidth',
  m: 'params.rowCount',
  n: 'params.stripWidth',
  factor: 'params.factor',
})}`,
  };
}

/**
 * out = factor * strip . b, rows of [B, L, H, D]: o = w . v and dq = scale ds . k. Grid: x = tiles of D, y = row tiles of
 * the block, z = heads of the block.
 */
export function stripRows({ tile, dtype }: StripVariant): KernelSource {
  const a: Operand = {
    name: 'a',
    contiguous: 'depth',
    aligned: true,
    base: 'stripBase',
    stride: 'params.stripWidth',
    outer: 'params.rowCount',
  };
  const b: Operand = {
    name: 'b',
    contiguous: 'outer',
    aligned: true,
    base: 'keyBase',
    stride: KEY_STRIDE,
    outer: 'params.headDim',
  };
  return {
    buffers: [...operandBindings(tile, a, b, ['f32', dtype]), write('out', `vec4<${dtype}>`), read('starts', 'i32')],
    params: STRIP_PARAMS,
    workgroupSize: productThreads(tile),
    declarations: productDeclarations(tile, a, b) + START_READER,
    body: `
${headPlaces('group.z')}
let rowStart = group.y * ${tile.tileM}u;
let columnStart = group.x * ${tile.tileN}u;
let firstKey = startOf(batch, rowStart) / ${GROUP}u * ${GROUP}u;
let endKey = params.blockRow + min(rowStart + ${tile.tileM}u, params.rowCount) + qOffset;
${declareResults(tile, 'rowStart', 'columnStart')}
${accumulateProduct(tile, a, b, 'firstKey', 'endKey')}
${storeResults(tile, {
  name: 'out',
  element: `vec4<${dtype}>`,
  base: 'rowBase',
  stride: ROW_STRIDE,
  m: 'params.rowCount',
  n: 'params.headDim',
  factor: 'params.factor',
})}`,
  };
}

/**
 * out = factor * strip^T . b, with `accumulate` added to what is there, over the rows of the block and over `groupHeads`
 * query heads of one kv head, in order: rows of [B, S, Hkv, D] in f32, dk = scale ds^T . q and dv = w^T . dO. Grid: x = tiles of D, y = key tiles, z = kv heads of
 * the block.
 */
export function stripColumns({ tile, dtype }: StripVariant, accumulate: boolean): KernelSource {
  const a: Operand = {
    name: 'a',
    contiguous: 'outer',
    aligned: true,
    base: 'stripBase',
    stride: 'params.stripWidth',
    outer: 'params.stripWidth',
  };
  const b: Operand = { ...a, name: 'b', base: 'rowBase', stride: ROW_STRIDE, outer: 'params.headDim' };
  const place: ResultPlace = {
    name: 'out',
    element: 'vec4<f32>',
    base: 'keyBase',
    stride: KEY_STRIDE,
    m: 'params.keyLength',
    n: 'params.headDim',
    factor: 'params.factor',
  };
  return {
    buffers: [...operandBindings(tile, a, b, ['f32', dtype]), write('out', 'vec4<f32>'), read('starts', 'i32')],
    params: STRIP_PARAMS,
    workgroupSize: productThreads(tile),
    declarations: productDeclarations(tile, a, b) + START_READER,
    body: `
let rowStart = group.y * ${tile.tileM}u;
let columnStart = group.x * ${tile.tileN}u;
${declareResults(tile, 'rowStart', 'columnStart')}
// The block's rows that attend a key of this tile: from the one at the position of its first key on.
let firstPosition = params.blockRow + params.keyLength - params.queryLength;
let firstRow = select(rowStart - firstPosition, 0u, rowStart <= firstPosition) / ${GROUP}u * ${GROUP}u;
${accumulate ? 'if (firstRow >= params.rowCount) { return; }' : ''}
for (var i = 0u; i < params.groupHeads; i++) {
${headPlaces('(group.z * params.groupHeads + i)')}
// Starts do not decrease, so after the first group that starts past this tile none attends it.
var endRow = firstRow;
while (endRow < params.rowCount && startOf(batch, endRow) < rowStart + ${tile.tileM}u) { endRow += ${GROUP}u; }
endRow = min(endRow, params.rowCount);
${accumulateProduct(tile, a, b, 'firstRow', 'endRow')}
}
${headPlaces('(group.z * params.groupHeads)')}
${accumulate ? `${addToResults(tile, place)}\n${storeResults(tile, { ...place, factor: undefined })}` : storeResults(tile, place)}`,
  };
}
