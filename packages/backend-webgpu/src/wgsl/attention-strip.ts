import { OPTIONAL_PARAMS, STARTS } from './attention-optional.ts';
import { kernel, type Scalar, write } from './kernel.ts';
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
 * Products of attention by score strips (spec §Exact algorithms): the scores of a block of query rows of some heads, [heads, rows,
 * keys] in f32, lie in a workspace of bounded size. Forward: scores = scale q . k, the rows become w (attention-rows.ts),
 * o = w . v. Backward: scores and g = dO . v, the rows become w and ds, then dq = scale ds . k, and over the blocks in order
 * dk += scale ds^T . q, dv += w^T . dO.
 *
 * Rows go in groups of 64. A group's strip is valid from the first key of its first row, down to a multiple of 64, to the last
 * key of its last row, up to a multiple of 64 or the width of the strip; past the attended keys it is zero. Products stay
 * inside of that, which skips what is causally absent or before `starts`.
 *
 * Why strips: 2 + 5 products, where scores kept on the chip and computed again need 4 + 7, and every kernel is a plain product
 * with all registers for its block. Counts and timings: docs/kernels/webgpu.md.
 */
export const GROUP = 64;

/** What decides the text of the strip products. */
export type StripVariant = { readonly tile: ProductTile; readonly type: Scalar };

/** Tiles have to divide GROUP. Heads of up to 32 take half as wide a tile for results [., D]. */
export function stripTiles(headDim: number, software: boolean): { scores: ProductTile; results: ProductTile } {
  const scores = { tileM: GROUP, tileN: GROUP, threadM: 8, threadN: 8, staged: !software, depth: software ? 1 : 16 };
  return { scores, results: headDim <= 32 ? { ...scores, tileN: 32 } : scores };
}

/** Parameters that all kernels on strips share. A block is heads `firstHead`.. of [B, H] x rows `blockRow`.. of L. */
export const STRIP_PARAMS = {
  queryLength: 'u32',
  keyLength: 'u32',
  keyCapacity: 'u32',
  heads: 'u32',
  kvHeads: 'u32',
  headDim: 'u32',
  ...OPTIONAL_PARAMS,
  firstHead: 'u32',
  headCount: 'u32',
  // Query heads of the block per kv head.
  groupHeads: 'u32',
  blockRow: 'u32',
  rowCount: 'u32',
  // Keys per row of the strip: a multiple of 4.
  stripWidth: 'u32',
  // dbias is summed for this many distances.
  biasWidth: 'u32',
  // Whether results are added to what an earlier block left.
  accumulate: 'u32',
  // Of the product: scale or 1.
  factor: 'f32',
} as const;

/** A value for each parameter of a kernel on strips. */
export type StripParams = Readonly<Record<keyof typeof STRIP_PARAMS, number>>;

/** Places of head `z` of the block, as elements. */
export const headPlaces = (z: string): string => `
  let batch = (params.firstHead + ${z}) / params.heads;
  let h = (params.firstHead + ${z}) % params.heads;
  let kvHead = h / (params.heads / params.kvHeads);
  let qOffset = params.keyLength - params.queryLength;
  let stripBase = ${z} * params.rowCount * params.stripWidth;
  let rowBase = ((batch * params.queryLength + params.blockRow) * params.heads + h) * params.headDim;
  let keyBase = (batch * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;`;

/** `startOf(batch, row)`: first key that the block's row attends. */
export const START_READER = `
fn startOf(batch: u32, row: u32) -> u32 {
  if (params.hasStarts == 0u) { return 0u; }
  return u32(starts[batch * params.queryLength + params.blockRow + row]);
}`;

const ROW_STRIDE = 'params.heads * params.headDim';
const KEY_STRIDE = 'params.kvHeads * params.headDim';

const tilePlace = ({ tileM, tileN }: ProductTile): string => `
  let rowStart = group.y * ${tileM}u;
  let columnStart = group.x * ${tileN}u;`;

/**
 * strip = factor * a . b^T for rows a of [B, L, H, D] (q or dO) and b of [B, capacity, Hkv, D] (k or v), where a tile has
 * attended pairs. Grid: x = key tiles of the strip, y = row tiles of the block, z = heads of the block.
 */
export const stripScores = kernel({
  name: 'attention/scores',
  params: STRIP_PARAMS,
  text: ({ tile, type }: StripVariant) => {
    const row = { contiguous: 'depth', aligned: true } as const;
    const a: Operand = { ...row, name: 'a', base: 'rowBase', stride: ROW_STRIDE, outer: 'params.rowCount' };
    const b: Operand = { ...row, name: 'b', base: 'keyBase', stride: KEY_STRIDE, outer: 'params.keyLength' };
    const place: ResultPlace = {
      name: 'strip',
      element: 'vec4<f32>',
      base: 'stripBase',
      stride: 'params.stripWidth',
      m: 'params.rowCount',
      n: 'params.stripWidth',
      factor: 'params.factor',
    };
    return {
      buffers: { ...operandBindings(tile, a, b, [type, type]), strip: write('vec4<f32>'), ...STARTS },
      workgroupSize: productThreads(tile),
      declarations: productDeclarations(tile, a, b) + START_READER,
      body: `
        ${headPlaces('group.z')}
        ${tilePlace(tile)}
        let lastRow = min(rowStart + ${tile.tileM}u, params.rowCount) - 1u;
        if (columnStart > params.blockRow + lastRow + qOffset) { return; }
        if (columnStart + ${tile.tileN}u <= startOf(batch, rowStart)) { return; }
        ${declareResults(tile, 'rowStart', 'columnStart')}
        ${accumulateProduct(tile, a, b, '0u', 'params.headDim')}
        ${storeResults(tile, place)}`,
    };
  },
});

/**
 * out = factor * strip . b, rows of [B, L, H, D]: o = w . v and dq = scale ds . k. Grid: x = tiles of D, y = row tiles of
 * the block, z = heads of the block.
 */
export const stripRows = kernel({
  name: 'attention/rows',
  params: STRIP_PARAMS,
  text: ({ tile, type }: StripVariant) => {
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
    const place: ResultPlace = {
      name: 'out',
      element: `vec4<${type}>`,
      base: 'rowBase',
      stride: ROW_STRIDE,
      m: 'params.rowCount',
      n: 'params.headDim',
      factor: 'params.factor',
    };
    return {
      buffers: { ...operandBindings(tile, a, b, ['f32', type]), out: write(`vec4<${type}>`), ...STARTS },
      workgroupSize: productThreads(tile),
      declarations: productDeclarations(tile, a, b) + START_READER,
      body: `
        ${headPlaces('group.z')}
        ${tilePlace(tile)}
        let firstKey = startOf(batch, rowStart) / ${GROUP}u * ${GROUP}u;
        let endKey = params.blockRow + min(rowStart + ${tile.tileM}u, params.rowCount) + qOffset;
        ${declareResults(tile, 'rowStart', 'columnStart')}
        ${accumulateProduct(tile, a, b, 'firstKey', 'endKey')}
        ${storeResults(tile, place)}`,
    };
  },
});

/**
 * out = factor * strip^T . b, with `accumulate` added to what is there, over the rows of the block and over `groupHeads`
 * query heads of one kv head, in order: rows of [B, S, Hkv, D] in f32, dk = scale ds^T . q and dv = w^T . dO. Grid: x = tiles
 * of D, y = key tiles, z = kv heads of the block.
 */
export const stripColumns = kernel({
  name: 'attention/columns',
  params: STRIP_PARAMS,
  text: ({ tile, type, accumulate }: StripVariant & { readonly accumulate: boolean }) => {
    const column = { contiguous: 'outer', aligned: true } as const;
    const a: Operand = {
      ...column,
      name: 'a',
      base: 'stripBase',
      stride: 'params.stripWidth',
      outer: 'params.stripWidth',
    };
    const b: Operand = { ...column, name: 'b', base: 'rowBase', stride: ROW_STRIDE, outer: 'params.headDim' };
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
      buffers: { ...operandBindings(tile, a, b, ['f32', type]), out: write('vec4<f32>'), ...STARTS },
      workgroupSize: productThreads(tile),
      declarations: productDeclarations(tile, a, b) + START_READER,
      body: `
        ${tilePlace(tile)}
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
        ${accumulate ? addToResults(tile, place) : ''}
        ${storeResults(tile, accumulate ? { ...place, factor: undefined } : place)}`,
    };
  },
});
