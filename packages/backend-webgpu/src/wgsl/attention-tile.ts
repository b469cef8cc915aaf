import { type KernelSource, read, type StorageBinding } from './module.ts';
import { distribute, range, unroll } from './text.ts';

/** What decides the text of the tiled attention kernels. */
export interface AttentionVariant {
  readonly headDim: number;
  readonly dtype: 'f32' | 'f16';
  readonly bias: boolean;
  readonly tau: boolean;
  readonly starts: boolean;
  readonly tile: AttentionTile;
}

/**
 * A workgroup works on a tile of `queries` x `keys` scores; an invocation holds 8 queries x `threadKeys` keys of it in
 * registers. `queries` is 64.
 */
export interface AttentionTile {
  readonly keys: number;
  readonly threadKeys: 4 | 8;
}

export const QUERIES = 64;
const THREAD_QUERIES = 8;
/** Slices of the head size that pass through workgroup memory at a time, for a product of scores. */
const DEPTH = 16;

export function attentionThreads(tile: AttentionTile): number {
  return (QUERIES / THREAD_QUERIES) * (tile.keys / tile.threadKeys);
}

/** vec4s of workgroup memory for slices of operands. */
const STAGE = (DEPTH * (QUERIES + 64)) / 4;

/** Parameters that all tiled kernels share; see AttentionSizes for the letters. */
export const ATTENTION_PARAMS: KernelSource['params'] = [
  ['queryLength', 'u32'],
  ['keyLength', 'u32'],
  ['keyCapacity', 'u32'],
  ['heads', 'u32'],
  ['kvHeads', 'u32'],
  ['window', 'u32'],
  ['scale', 'f32'],
  // Rows of [B, L, H]; entries of a partial sum of dbias.
  ['rows', 'u32'],
  ['width', 'u32'],
];

export const vec4Of = (dtype: 'f32' | 'f16'): 'vec4<f32>' | 'vec4<f16>' =>
  dtype === 'f16' ? 'vec4<f16>' : 'vec4<f32>';

/** The optional inputs in the order in which the ops bind them. */
export function optionalBuffers(variant: AttentionVariant): StorageBinding[] {
  return [
    ...(variant.bias ? [read('bias', 'f32')] : []),
    ...(variant.tau ? [read('tau', 'f32')] : []),
    ...(variant.starts ? [read('starts', 'i32')] : []),
  ];
}

/** Reads of rows [., heads, D] as f32: `x(base, row, rows, stride, d)`, zeros past the last row and past D. */
function rowReader(name: string, headDim: number): string {
  return `
fn ${name}At(base: u32, row: u32, rows: u32, stride: u32, d: u32) -> vec4<f32> {
  if (row >= rows || d >= ${headDim}u) { return vec4<f32>(); }
  return vec4<f32>(${name}[(base + row * stride + d) / 4u]);
}`;
}

/** Module-scope code of the tiled kernels that read the row arrays `names` and exchange tiles of weights. */
export function tileDeclarations(variant: AttentionVariant, names: readonly string[], exchange: boolean): string {
  return `
var<workgroup> stage: array<vec4<f32>, ${STAGE}>;
${exchange ? `var<workgroup> weights: array<vec4<f32>, ${(QUERIES * variant.tile.keys) / 4}>;` : ''}
${names.map((name) => rowReader(name, variant.headDim)).join('\n')}`;
}

/** Where the workgroup is: batch entry, head, kv head, and the element offsets of their rows. Expects `b` and `h`. */
export const LOCATE = `
let kvHead = h / (params.heads / params.kvHeads);
let qOffset = params.keyLength - params.queryLength;
`;
export const headBases = (headDim: number): string => `
let qBase = (b * params.queryLength * params.heads + h) * ${headDim}u;
let kBase = (b * params.keyCapacity * params.kvHeads + kvHead) * ${headDim}u;
let qStride = params.heads * ${headDim}u;
let kStride = params.kvHeads * ${headDim}u;
let statsBase = (b * params.heads + h) * params.queryLength;
`;

/** Which of the tile's 8 x threadKeys blocks the invocation holds: queries from `ty * 8`, keys from `tx * threadKeys`. */
export function blockOfInvocation(tile: AttentionTile): string {
  const columns = tile.keys / tile.threadKeys;
  return `let ty = lane / ${columns}u;\nlet tx = lane % ${columns}u;`;
}

/**
 * Declares `${result}${i}_${j}` (vec4 over four keys j, for query i of the invocation's block) and sums into them the
 * products of `rows` (queries, an array of rows like q) and `columns` (keys, an array of rows like k) over the head size.
 */
export function scoreProduct(variant: AttentionVariant, result: string, rows: RowArray, columns: RowArray): string {
  const { tile, headDim } = variant;
  const threads = attentionThreads(tile);
  const vectors = range(tile.threadKeys / 4);
  const columnsAt = (DEPTH * QUERIES) / 4;
  const stageBlocks = (array: RowArray, extent: number, at: number): string =>
    distribute(
      (extent * DEPTH) / 16,
      threads,
      `let outer = (item / ${DEPTH / 4}u) * 4u;
let inner = (item % ${DEPTH / 4}u) * 4u;
${unroll(4, (i) => `let v${i} = ${array.name}At(${array.base}, ${array.start} + outer + ${i}u, ${array.rows}, ${array.stride}, d0 + inner);`)}
${unroll(4, (i) => `stage[${at}u + ((inner + ${i}u) * ${extent}u + outer) / 4u] = vec4<f32>(v0[${i}], v1[${i}], v2[${i}], v3[${i}]);`)}`,
    );
  return `
${unroll(THREAD_QUERIES, (i) => vectors.map((j) => `var ${result}${i}_${j} = vec4<f32>();`).join(' '))}
for (var d0 = 0u; d0 < ${headDim}u; d0 += ${DEPTH}u) {
workgroupBarrier();
${stageBlocks(rows, QUERIES, 0)}
${stageBlocks(columns, tile.keys, columnsAt)}
workgroupBarrier();
for (var kk = 0u; kk < ${DEPTH}u; kk++) {
${unroll(2, (i) => `let x${i} = stage[kk * ${QUERIES / 4}u + ty * 2u + ${i}u];`)}
${vectors.map((j) => `let y${j} = stage[${columnsAt}u + kk * ${tile.keys / 4}u + tx * ${vectors.length}u + ${j}u];`).join('\n')}
${unroll(THREAD_QUERIES, (i) =>
  vectors.map((j) => `${result}${i}_${j} = fma(vec4<f32>(x${i >> 2}[${i & 3}]), y${j}, ${result}${i}_${j});`).join(' '),
)}
}
}`;
}

/** An array of rows [., heads, D] and the part of it that a tile covers, as WGSL expressions. */
export interface RowArray {
  readonly name: string;
  readonly base: string;
  /** First row of the tile. */
  readonly start: string;
  /** Number of rows that exist. */
  readonly rows: string;
  readonly stride: string;
}

/** Where the outputs of a kernel go: rows [., heads, D] from `start`, as WGSL expressions. */
export type RowPlace = Omit<RowArray, 'name'>;

export const QUERY_PLACE: RowPlace = {
  base: 'qBase',
  start: 'rowStart',
  rows: 'params.queryLength',
  stride: 'qStride',
};
export const QUERY_ROWS: RowArray = { ...QUERY_PLACE, name: 'q' };
export const KEY_ROWS: RowArray = {
  name: 'k',
  base: 'kBase',
  start: 'keyStart',
  rows: 'params.keyLength',
  stride: 'kStride',
};
export const VALUE_ROWS: RowArray = { ...KEY_ROWS, name: 'v' };

/**
 * Turns the sums of `scoreProduct` into scores: s = scale * sum + bias[h, i - j]. Neighbouring scores share distances,
 * so the block needs 8 + threadKeys - 1 entries of the bias and not one per score. Expects `queryPosition` (absolute
 * position of the invocation's first query) and `keyPosition` (its first key).
 */
export function scoresFromProducts(variant: AttentionVariant, result: string): string {
  const { threadKeys } = variant.tile;
  const vectors = range(threadKeys / 4);
  const low = threadKeys - 1;
  const name = (distance: number): string => (distance < 0 ? `biasM${-distance}` : `bias${distance}`);
  const distances = range(THREAD_QUERIES + threadKeys - 1).map((d) => d - low);
  const biasEntries = variant.bias
    ? distances.map((d) => `let ${name(d)} = biasAt(h, i32(queryPosition) - i32(keyPosition) + ${d});`).join('\n')
    : '';
  const biasVector = (i: number, j: number): string =>
    variant.bias
      ? ` + vec4<f32>(${range(4)
          .map((e) => name(i - (4 * j + e)))
          .join(', ')})`
      : '';
  return `
${biasEntries}
${unroll(THREAD_QUERIES, (i) =>
  vectors.map((j) => `${result}${i}_${j} = ${result}${i}_${j} * params.scale${biasVector(i, j)};`).join(' '),
)}`;
}

export const biasReader = (variant: AttentionVariant): string =>
  variant.bias
    ? `
fn biasAt(h: u32, distance: i32) -> f32 {
  if (distance < 0 || distance >= i32(params.window)) { return 0.0; }
  return bias[h * params.window + u32(distance)];
}`
    : '';

/** First key that query row `row` attends. */
export const startOf = (variant: AttentionVariant, row: string): string =>
  variant.starts ? `u32(starts[b * params.queryLength + min(${row}, params.queryLength - 1u)])` : '0u';

/**
 * Code for each of the 8 queries of the block: `each(i)` sees `row${i}` (row of q), `position${i}` (absolute) and
 * `start${i}`. Declared once, before the loop over keys.
 */
export function queryRows(variant: AttentionVariant): string {
  return unroll(
    THREAD_QUERIES,
    (i) => `let row${i} = rowStart + ty * 8u + ${i}u;
let position${i} = row${i} + qOffset;
let start${i} = ${startOf(variant, `row${i}`)};`,
  );
}

/** The mask of four keys from `keyPosition + 4 j`: attended by query i, which exists. */
export const attended = (i: number, j: number): string =>
  `(keyPosition + vec4<u32>(${range(4)
    .map((e) => `${4 * j + e}u`)
    .join(', ')}) <= vec4<u32>(select(0u, position${i}, row${i} < params.queryLength))) & ` +
  `(keyPosition + vec4<u32>(${range(4)
    .map((e) => `${4 * j + e}u`)
    .join(', ')}) >= vec4<u32>(select(${'0xffffffffu'}, start${i}, row${i} < params.queryLength)))`;

/** How the invocations share a product of weights [`lines`, .] with rows [., D]: `lines` outputs by D columns. */
export interface OutputMapping {
  readonly columnGroups: number;
  /** Output lines per invocation, 4 or 8. */
  readonly lines: number;
  /** vec4 columns per invocation. */
  readonly columns: number;
}

export function outputMapping(lines: number, headDim: number, threads: number): OutputMapping {
  const vectors = headDim / 4;
  // At most 8 lines each, at least 4; more column groups than columns would idle.
  let columnGroups = (threads * 8) / lines;
  while (columnGroups / 2 >= vectors && (lines * columnGroups) / 2 / threads >= 4) columnGroups /= 2;
  return { columnGroups, lines: (lines * columnGroups) / threads, columns: Math.ceil(vectors / columnGroups) };
}

export function outputPlace(mapping: OutputMapping): string {
  return `let line = (lane / ${mapping.columnGroups}u) * ${mapping.lines}u;\nlet column = lane % ${mapping.columnGroups}u;`;
}

export const declareOutputs = (mapping: OutputMapping, result: string): string =>
  unroll(mapping.lines, (i) =>
    range(mapping.columns)
      .map((c) => `var ${result}${i}_${c} = vec4<f32>();`)
      .join(' '),
  );

/**
 * result += weights . rows, where `weights` lies in workgroup memory as [depth, lines] (`depth` terms are summed) and
 * the rows pass through `stage` a slice at a time. With `count`, also count += [weights > 0] . rows.
 */
export function accumulateOutputs(
  variant: AttentionVariant,
  mapping: OutputMapping,
  extent: { readonly depth: number; readonly lines: number },
  result: string,
  rows: RowArray,
  count: string | null,
): string {
  const threads = attentionThreads(variant.tile);
  const stride = mapping.columns * mapping.columnGroups;
  let slice = Math.min(extent.depth, 32);
  while (slice * stride > STAGE) slice /= 2;
  const columns = range(mapping.columns);
  return `
for (var t0 = 0u; t0 < ${extent.depth}u; t0 += ${slice}u) {
workgroupBarrier();
${distribute(
  slice * stride,
  threads,
  `stage[item] = ${rows.name}At(${rows.base}, ${rows.start} + t0 + item / ${stride}u, ${rows.rows}, ${rows.stride}, (item % ${stride}u) * 4u);`,
)}
workgroupBarrier();
for (var t = 0u; t < ${slice}u; t++) {
${unroll(mapping.lines / 4, (i) => `let w${i} = weights[((t0 + t) * ${extent.lines}u + line) / 4u + ${i}u];`)}
${count === null ? '' : unroll(mapping.lines / 4, (i) => `let m${i} = select(vec4<f32>(), vec4<f32>(1.0), w${i} > vec4<f32>());`)}
${columns.map((c) => `let r${c} = stage[t * ${stride}u + column + ${c * mapping.columnGroups}u];`).join('\n')}
${unroll(mapping.lines, (i) =>
  columns
    .map(
      (c) =>
        `${result}${i}_${c} = fma(vec4<f32>(w${i >> 2}[${i & 3}]), r${c}, ${result}${i}_${c});` +
        (count === null ? '' : ` ${count}${i}_${c} = fma(vec4<f32>(m${i >> 2}[${i & 3}]), r${c}, ${count}${i}_${c});`),
    )
    .join(' '),
)}
}
}`;
}

/** Writes the outputs of `accumulateOutputs`, multiplied by `factor`, to rows [., heads, D] of `target`. */
export function storeOutputs(
  variant: AttentionVariant,
  mapping: OutputMapping,
  result: string,
  target: string,
  place: RowPlace,
  factor: string | null,
): string {
  const element = vec4Of(variant.dtype);
  const last = variant.headDim / 4 - 1;
  return unroll(mapping.lines, (i) => {
    const stores = range(mapping.columns)
      .map((c) => {
        const value = factor === null ? `${result}${i}_${c}` : `${factor} * ${result}${i}_${c}`;
        const at = `column + ${c * mapping.columnGroups}u`;
        const store = `${target}[(${place.base} + (${place.start} + line + ${i}u) * ${place.stride}) / 4u + ${at}] = ${element}(${value});`;
        return (c + 1) * mapping.columnGroups - 1 > last ? `if (${at} <= ${last}u) { ${store} }` : store;
      })
      .join('\n');
    return `if (${place.start} + line + ${i}u < ${place.rows}) {\n${stores}\n}`;
  });
}

/** Loop over the tiles of keys that the query tile attends. `code` sees `keyStart`, `keyPosition` and `queryPosition`. */
export const overKeys = (variant: AttentionVariant, code: string): string => `
for (var keyStart = firstKey; keyStart <= lastKey; keyStart += ${variant.tile.keys}u) {
let keyPosition = keyStart + tx * ${variant.tile.threadKeys}u;
let queryPosition = position0;
${code}
}`;

/** Writes the block's values `${name}${i}_${j}` to workgroup memory as [key, query]. */
export const exchangeByKey = (variant: AttentionVariant, name: string): string =>
  range(variant.tile.threadKeys)
    .map((key) => {
      const [j, e] = [key >> 2, key & 3];
      const at = `((tx * ${variant.tile.threadKeys}u + ${key}u) * ${QUERIES}u + ty * 8u) / 4u`;
      return range(2)
        .map(
          (half) =>
            `weights[${at} + ${half}u] = vec4<f32>(${range(4)
              .map((i) => `${name}${4 * half + i}_${j}[${e}]`)
              .join(', ')});`,
        )
        .join('\n');
    })
    .join('\n');

/** Writes the block's values to workgroup memory as [query, key]. */
export const exchangeByQuery = (variant: AttentionVariant, value: (i: number, j: number) => string): string =>
  unroll(THREAD_QUERIES, (i) =>
    range(variant.tile.threadKeys / 4)
      .map(
        (j) =>
          `weights[((ty * 8u + ${i}u) * ${variant.tile.keys}u + tx * ${variant.tile.threadKeys}u) / 4u + ${j}u] = ${value(i, j)};`,
      )
      .join('\n'),
  );
