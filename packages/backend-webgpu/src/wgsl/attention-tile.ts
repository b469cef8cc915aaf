import type { KernelSource } from './module.ts';
import { distribute, range, unroll } from './text.ts';

/** What decides the text of the tiled attention kernels. */
export interface AttentionVariant {
  /** Upper bound of the head size; the size itself is a parameter, so that few kernels serve all. */
  readonly headClass: HeadClass;
  readonly dtype: 'f32' | 'f16';
  readonly tile: AttentionTile;
}

export type HeadClass = 16 | 32 | 64 | 128 | 256;

/** The smallest class that holds the head size (at most 256). */
export function headClassOf(headDim: number): HeadClass {
  return ([16, 32, 64, 128] as const).find((size) => headDim <= size) ?? 256;
}

/**
 * A workgroup works on a tile of 64 queries x `keys` scores; an invocation computes 8 queries x `threadKeys` keys of it
 * in registers.
 */
export interface AttentionTile {
  readonly keys: 32 | 64;
  readonly threadKeys: 4 | 8;
  /**
   * Short text for slow compilers: copies into workgroup memory are loops of single elements instead of unrolled
   * transpositions of 4x4 blocks. llvmpipe's compile time grows with the square of the number of memory accesses.
   */
  readonly compact: boolean;
}

export const QUERIES = 64;
export const THREAD_QUERIES = 8;
/** Slices of the head size that pass through workgroup memory at a time, for a product of scores. */
const DEPTH = 16;
/** vec4s of workgroup memory for slices of operands. */
const stageSize = (tile: AttentionTile): number => (DEPTH * (QUERIES + tile.keys)) / 4;

export function attentionThreads(tile: AttentionTile): number {
  return (QUERIES / THREAD_QUERIES) * (tile.keys / tile.threadKeys);
}

/**
 * Parameters that all attention kernels share; see AttentionSizes for the letters. Absent inputs are expressed here and
 * not in the text: without bias `window` is 0, without tau or starts their flag is.
 */
export const ATTENTION_PARAMS: KernelSource['params'] = [
  ['queryLength', 'u32'],
  ['keyLength', 'u32'],
  ['keyCapacity', 'u32'],
  ['heads', 'u32'],
  ['kvHeads', 'u32'],
  ['headDim', 'u32'],
  ['window', 'u32'],
  ['hasTau', 'u32'],
  ['hasStarts', 'u32'],
  ['scale', 'f32'],
  // Rows of [B, L, H]; entries of a partial sum of dbias.
  ['rows', 'u32'],
  ['width', 'u32'],
];

export const vec4Of = (dtype: 'f32' | 'f16'): 'vec4<f32>' | 'vec4<f16>' =>
  dtype === 'f16' ? 'vec4<f16>' : 'vec4<f32>';

/** Reads of rows [., heads, D] as f32, zeros past the last row and past D. */
const rowReader = (name: string): string => `
fn ${name}At(base: u32, row: u32, rows: u32, stride: u32, d: u32) -> vec4<f32> {
  if (row >= rows || d >= params.headDim) { return vec4<f32>(); }
  return vec4<f32>(${name}[(base + row * stride + d) / 4u]);
}`;

/** Entry of the bias at a relative distance (as i32, so that keys to come are out of range), 0 outside of the window. */
const BIAS_READER = `
fn biasAt(h: u32, distance: u32) -> f32 {
  if (distance >= params.window) { return 0.0; }
  return bias[h * params.window + distance];
}`;

/**
 * Module-scope code of the tiled kernels that read the row arrays `names`. `weights` is the tile: scores, then p, w or
 * ds. What each step of a kernel leaves there is said at that step.
 */
export function tileDeclarations(variant: AttentionVariant, names: readonly string[]): string {
  return `
var<workgroup> stage: ${variant.tile.compact ? `array<f32, ${4 * stageSize(variant.tile)}>` : `array<vec4<f32>, ${stageSize(variant.tile)}>`};
var<workgroup> weights: array<vec4<f32>, ${(QUERIES * variant.tile.keys) / 4}>;
${names.map(rowReader).join('\n')}
${BIAS_READER}`;
}

/** Element offsets of the rows of batch entry `b` and query head `h`. */
export const HEAD_BASES = `
let kvHead = h / (params.heads / params.kvHeads);
let qOffset = params.keyLength - params.queryLength;
let qBase = (b * params.queryLength * params.heads + h) * params.headDim;
let kBase = (b * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;
let qStride = params.heads * params.headDim;
let kStride = params.kvHeads * params.headDim;
let statsBase = (b * params.heads + h) * params.queryLength;`;

/** Which block of the tile the invocation computes: queries from `ty * 8`, keys from `tx * threadKeys`. */
export function blockOfInvocation(tile: AttentionTile): string {
  const columns = tile.keys / tile.threadKeys;
  return `let ty = lane / ${columns}u;\nlet tx = lane % ${columns}u;`;
}

/** Where rows [., heads, D] of a tile lie, as WGSL expressions. */
export interface RowPlace {
  readonly base: string;
  /** First row of the tile. */
  readonly start: string;
  /** Number of rows that exist. */
  readonly rows: string;
  readonly stride: string;
}

export interface RowArray extends RowPlace {
  readonly name: string;
}

export const QUERY_PLACE: RowPlace = {
  base: 'qBase',
  start: 'rowStart',
  rows: 'params.queryLength',
  stride: 'qStride',
};
export const KEY_PLACE: RowPlace = { base: 'kBase', start: 'keyStart', rows: 'params.keyLength', stride: 'kStride' };

/**
 * How the tile lies in `weights`: 'byKey' as [key, query], for sums over keys; 'byQuery' as [query, key], for sums over
 * queries. The last index runs along the vec4s.
 */
export type Order = 'byKey' | 'byQuery';

/** The invocation's block in an order: `lines` x `vectors` vec4s, and where each lies in `weights`. */
export function blockOf(tile: AttentionTile, order: Order): Block {
  const byKey = order === 'byKey';
  return {
    lines: byKey ? tile.threadKeys : THREAD_QUERIES,
    vectors: (byKey ? THREAD_QUERIES : tile.threadKeys) / 4,
    at: (line, vector) =>
      byKey
        ? `(tx * ${tile.threadKeys}u + ${line}u) * ${QUERIES / 4}u + ty * ${THREAD_QUERIES / 4}u + ${vector}u`
        : `(ty * ${THREAD_QUERIES}u + ${line}u) * ${tile.keys / 4}u + tx * ${tile.threadKeys / 4}u + ${vector}u`,
  };
}

export interface Block {
  readonly lines: number;
  readonly vectors: number;
  at(line: number, vector: number): string;
}

/** Code for every vec4 of a block. */
export const overBlock = (block: Block, code: (line: number, vector: number) => string): string =>
  unroll(block.lines, (line) => unroll(block.vectors, (vector) => code(line, vector)));

/**
 * Declares `r${line}_${vector}` for the invocation's block and sums into them the products of rows of `queries` and
 * `keys` (arrays like q and k) over the head size. The tile of scores goes through workgroup memory in slices.
 */
export function scoreProduct(variant: AttentionVariant, order: Order, queries: RowArray, keys: RowArray): string {
  const { tile } = variant;
  const threads = attentionThreads(tile);
  const block = blockOf(tile, order);
  const keysAt = (DEPTH * QUERIES) / 4;
  const place = (array: RowArray): string => `${array.name}At(${array.base}, ${array.start}`;
  const copyElements = (array: RowArray, extent: number, at: number): string =>
    distribute(
      (extent * DEPTH) / 4,
      threads,
      `let outer = item / ${DEPTH / 4}u;
let inner = (item % ${DEPTH / 4}u) * 4u;
let v = ${place(array)} + outer, ${array.rows}, ${array.stride}, d0 + inner);
${unroll(4, (i) => `stage[${4 * at}u + (inner + ${i}u) * ${extent}u + outer] = v[${i}];`)}`,
      false,
    );
  const copyBlocks = (array: RowArray, extent: number, at: number): string =>
    distribute(
      (extent * DEPTH) / 16,
      threads,
      `let outer = (item / ${DEPTH / 4}u) * 4u;
let inner = (item % ${DEPTH / 4}u) * 4u;
${unroll(4, (i) => `let v${i} = ${place(array)} + outer + ${i}u, ${array.rows}, ${array.stride}, d0 + inner);`)}
${unroll(4, (i) => `stage[${at}u + ((inner + ${i}u) * ${extent}u + outer) / 4u] = vec4<f32>(v0[${i}], v1[${i}], v2[${i}], v3[${i}]);`)}`,
      true,
    );
  const copy = tile.compact ? copyElements : copyBlocks;
  const [lineOperand, vectorOperand] = order === 'byKey' ? ['y', 'x'] : ['x', 'y'];
  return `
${overBlock(block, (line, vector) => `var r${line}_${vector} = vec4<f32>();`)}
for (var d0 = 0u; d0 < params.headDim; d0 += ${DEPTH}u) {
workgroupBarrier();
${copy(queries, QUERIES, 0)}
${copy(keys, tile.keys, keysAt)}
workgroupBarrier();
for (var kk = 0u; kk < ${DEPTH}u; kk++) {
${unroll(THREAD_QUERIES / 4, (i) => `let x${i} = ${staged(tile, `kk * ${QUERIES / 4}u + ty * ${THREAD_QUERIES / 4}u + ${i}u`)};`)}
${unroll(tile.threadKeys / 4, (j) => `let y${j} = ${staged(tile, `${keysAt}u + kk * ${tile.keys / 4}u + tx * ${tile.threadKeys / 4}u + ${j}u`)};`)}
${overBlock(
  block,
  (line, vector) =>
    `r${line}_${vector} = fma(vec4<f32>(${lineOperand}${line >> 2}[${line & 3}]), ${vectorOperand}${vector}, r${line}_${vector});`,
)}
}
}`;
}

/** Four neighbours in `stage`; `index` counts vec4s. */
export const staged = (tile: AttentionTile, index: string): string =>
  tile.compact
    ? `vec4<f32>(${range(4)
        .map((e) => `stage[4u * (${index}) + ${e}u]`)
        .join(', ')})`
    : `stage[${index}]`;

export const putStaged = (tile: AttentionTile, index: string, value: string): string =>
  tile.compact ? unroll(4, (e) => `stage[4u * (${index}) + ${e}u] = ${value}[${e}];`) : `stage[${index}] = ${value};`;

/** Puts the block's results of `scoreProduct` into `weights`. */
export const storeBlock = (tile: AttentionTile, order: Order): string => {
  const block = blockOf(tile, order);
  return overBlock(block, (line, vector) => `weights[${block.at(line, vector)}] = r${line}_${vector};`);
};

/**
 * The four queries whose scores this invocation turns into weights, in order 'byKey': always the same ones, so what
 * belongs to them stays in registers. Declares `quad`, `positions` (absolute); rows that do not exist get the position
 * of the last. `firstKeys` has to be declared by the caller.
 */
export const QUAD_OF_QUERIES = `
let quad = lane % ${QUERIES / 4}u;
let tileRows = rowStart + 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
let quadRows = min(tileRows, vec4<u32>(params.queryLength - 1u));
let positions = quadRows + qOffset;`;

/**
 * Loop over this invocation's share of the tile in order 'byKey'. `code` sees `at` (index in `weights`), `s` (scale *
 * product + bias, of one key and four queries) and `attended`.
 */
export const overQuadsByKey = (tile: AttentionTile, code: string): string => `
for (var t = lane / ${QUERIES / 4}u; t < ${tile.keys}u; t += ${(attentionThreads(tile) * 4) / QUERIES}u) {
let at = t * ${QUERIES / 4}u + quad;
let key = keyStart + t;
// Distances to keys that are to come wrap around to large numbers, which are outside of any window.
let distances = positions - key;
let s = weights[at] * params.scale + vec4<f32>(${range(4)
  .map((i) => `biasAt(h, distances[${i}])`)
  .join(', ')});
let attended = (vec4<u32>(key) <= positions) & (vec4<u32>(key) >= firstKeys);
${code}
}`;

/** How the invocations share a product of weights [depth, `lines`] with rows [depth, D]. */
export interface OutputMapping {
  readonly columnGroups: number;
  /** Output lines per invocation, 4 or 8. */
  readonly lines: number;
  /** vec4 columns per invocation. */
  readonly columns: number;
}

export function outputMapping(lines: number, headClass: HeadClass, threads: number): OutputMapping {
  const vectors = headClass / 4;
  // At most 8 lines each, at least 4; more column groups than columns would idle.
  let columnGroups = (threads * 8) / lines;
  while (columnGroups / 2 >= vectors && (lines * columnGroups) / 2 / threads >= 4) columnGroups /= 2;
  return { columnGroups, lines: (lines * columnGroups) / threads, columns: Math.ceil(vectors / columnGroups) };
}

export function outputPlace(mapping: OutputMapping): string {
  return `let line = (lane / ${mapping.columnGroups}u) * ${mapping.lines}u;\nlet column = lane % ${mapping.columnGroups}u;`;
}

export const declareOutputs = (mapping: OutputMapping, result: string): string =>
  unroll(mapping.lines, (i) => unroll(mapping.columns, (c) => `var ${result}${i}_${c} = vec4<f32>();`));

/**
 * result += weights . rows, where `weights` is [depth, lines] and the rows pass through `stage` a slice at a time. With
 * `count`, negative weights mark pairs that do not count: result += max(weights, 0) . rows, count += [weights >= 0] . rows.
 */
export function accumulateOutputs(
  variant: AttentionVariant,
  mapping: OutputMapping,
  extent: { readonly depth: number; readonly lines: number },
  result: string,
  rows: RowArray,
  count: string | null,
): string {
  const stride = mapping.columns * mapping.columnGroups;
  let slice = Math.min(extent.depth, 32);
  while (slice * stride > stageSize(variant.tile)) slice /= 2;
  const term = (target: string, factor: string, i: number, c: number): string =>
    `${target}${i}_${c} = fma(vec4<f32>(${factor}${i >> 2}[${i & 3}]), r${c}, ${target}${i}_${c});`;
  return `
for (var t0 = 0u; t0 < ${extent.depth}u; t0 += ${slice}u) {
workgroupBarrier();
${distribute(
  slice * stride,
  attentionThreads(variant.tile),
  `let v = ${rows.name}At(${rows.base}, ${rows.start} + t0 + item / ${stride}u, ${rows.rows}, ${rows.stride}, (item % ${stride}u) * 4u);
${putStaged(variant.tile, 'item', 'v')}`,
  !variant.tile.compact,
)}
workgroupBarrier();
for (var t = 0u; t < ${slice}u; t++) {
${unroll(mapping.lines / 4, (i) => {
  const weight = `weights[((t0 + t) * ${extent.lines}u + line) / 4u + ${i}u]`;
  if (count === null) return `let w${i} = ${weight};`;
  return `let marked${i} = ${weight};
let w${i} = max(marked${i}, vec4<f32>());
let m${i} = select(vec4<f32>(), vec4<f32>(1.0), marked${i} >= vec4<f32>());`;
})}
${unroll(mapping.columns, (c) => `let r${c} = ${staged(variant.tile, `t * ${stride}u + column + ${c * mapping.columnGroups}u`)};`)}
${unroll(mapping.lines, (i) => unroll(mapping.columns, (c) => term(result, 'w', i, c)))}
${count === null ? '' : unroll(mapping.lines, (i) => unroll(mapping.columns, (c) => term(count, 'm', i, c)))}
}
}`;
}

/** Writes `value` (of output line i and column c) to rows [., heads, D] of `target`. */
export function storeOutputs(
  dtype: 'f32' | 'f16',
  mapping: OutputMapping,
  target: string,
  place: RowPlace,
  value: (i: number, c: number) => string,
): string {
  return unroll(mapping.lines, (i) => {
    const stores = unroll(mapping.columns, (c) => {
      const at = `column + ${c * mapping.columnGroups}u`;
      return `if (4u * (${at}) < params.headDim) { ${target}[(${place.base} + (${place.start} + line + ${i}u) * ${place.stride}) / 4u + ${at}] = ${vec4Of(dtype)}(${value(i, c)}); }`;
    });
    return `if (${place.start} + line + ${i}u < ${place.rows}) {\n${stores}\n}`;
  });
}
