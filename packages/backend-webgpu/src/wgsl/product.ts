import type { ElementType } from './module.ts';
import { distribute, range, unroll } from './text.ts';

/**
 * The inner part of every kernel that multiplies matrices: op(A) . op(B), blocked so that a workgroup computes
 * tileM x tileN results and an invocation threadM x threadN of them in registers. Two ways for operands to get there:
 *
 * - staged: slices of `depth` pass through workgroup memory, where both operands lie depth-major, so that an invocation
 *   reads its threadM + threadN values of a step as vec4s. For GPUs, whose caches alone do not feed the registers.
 * - direct: invocations read storage themselves, a step of the depth at a time, without workgroup memory or barriers. For
 *   drivers that compute on the CPU: there workgroup memory is memory like any other, and a barrier turns the kernel into
 *   a coroutine, which takes llvmpipe seconds to compile. CPU time on llvmpipe at 1024^3, in one run: direct 8x8
 *   349 ms, staged 8x8 674 ms, staged 4x4 1191 ms; with their compilation 1.8, 4.9 and 9.9 s more (a busy machine). What
 *   failed: values of A that are the same for a whole workgroup (16 rows x 1 to 4 columns per invocation: 1.4 to 4.3 times
 *   slower), four steps of the depth at once as vec4 (1.4 to 1.8 times), blocks of 4x8, 4x16, 8x16, 12x8 and 16x8 (1.15 to 1.4).
 */
export interface ProductTile {
  readonly tileM: number;
  readonly tileN: number;
  /** Multiples of 4. */
  readonly threadM: number;
  readonly threadN: number;
  /** Depth of a staged slice; 0 is direct. */
  readonly depth: number;
}

/** Where an operand lies, as WGSL expressions of u32. Its lines are `stride` elements apart. */
export interface Operand {
  readonly name: 'a' | 'b';
  /** The direction in which neighbours are neighbours in storage: along the sum, or along the results. */
  readonly contiguous: 'depth' | 'outer';
  /** Lines (of results) start at multiples of 4 elements, and there is a multiple of 4 elements in each. */
  readonly aligned: boolean;
  readonly base: string;
  readonly stride: string;
  /** Number of rows (of A) or columns (of B) that exist. Results of others are undefined. */
  readonly outer: string;
}

export const productThreads = ({ tileM, tileN, threadM, threadN }: ProductTile): number =>
  (tileM / threadM) * (tileN / threadN);

const isVector = (tile: ProductTile, { contiguous, aligned }: Pick<Operand, 'contiguous' | 'aligned'>): boolean =>
  aligned && (tile.depth > 0 || contiguous === 'outer');

/** The type that an operand has to be bound as. */
export function operandElement(
  tile: ProductTile,
  operand: Pick<Operand, 'contiguous' | 'aligned'>,
  dtype: 'f32' | 'f16',
): ElementType {
  return isVector(tile, operand) ? `vec4<${dtype}>` : dtype;
}

/** Module-scope code for `accumulateProduct`. */
export function productDeclarations(tile: ProductTile, a: Operand, b: Operand): string {
  if (tile.depth === 0) return '';
  return `
var<workgroup> tileA: array<vec4<f32>, ${(tile.tileM * tile.depth) / 4}>;
var<workgroup> tileB: array<vec4<f32>, ${(tile.tileN * tile.depth) / 4}>;
${loadFunction(a)}
${loadFunction(b)}`;
}

/** Declares the place of the invocation's block, `row` and `column` in the whole result, and its sums `c${i}_${j}`. */
export function declareResults(tile: ProductTile, rowStart: string, columnStart: string): string {
  const columns = tile.tileN / tile.threadN;
  return `
let row = ${rowStart} + (lane / ${columns}u) * ${tile.threadM}u;
let column = ${columnStart} + (lane % ${columns}u) * ${tile.threadN}u;
${overResults(tile, (i, j) => `var c${i}_${j} = vec4<f32>();`)}`;
}

/** Code for every row i and vec4 of columns j of the invocation's block. */
const overResults = (tile: ProductTile, code: (i: number, j: number) => string): string =>
  unroll(tile.threadM, (i) => unroll(tile.threadN / 4, (j) => code(i, j)));

/**
 * Adds the products over the depth `from` to `to` to the sums. `from` is a multiple of 4 where an operand is aligned and
 * contiguous along the depth; such an operand is read up to the next multiple of 4 after `to`. Staged operands start
 * their tiles at `rowStart` and `columnStart`. Control flow around it has to be uniform.
 */
export function accumulateProduct(tile: ProductTile, a: Operand, b: Operand, from: string, to: string): string {
  return tile.depth === 0 ? directProduct(tile, a, b, from, to) : stagedProduct(tile, a, b, from, to);
}

const multiply = (tile: ProductTile): string =>
  overResults(tile, (i, j) => `c${i}_${j} = fma(vec4<f32>(a${i >> 2}[${i & 3}]), b${j}, c${i}_${j});`);

function directProduct(tile: ProductTile, a: Operand, b: Operand, from: string, to: string): string {
  const [placesA, readA] = directReads(tile, a, 'row', tile.threadM);
  const [placesB, readB] = directReads(tile, b, 'column', tile.threadN);
  return `{
${placesA}
${placesB}
for (var k = ${from}; k < ${to}; k++) {
${readA}
${readB}
${multiply(tile)}
}
}`;
}

/** Offsets that do not change along the depth, and the reads of a step. Lines that do not exist repeat the last one. */
function directReads(tile: ProductTile, operand: Operand, first: string, count: number): [string, string] {
  const { name, contiguous, base, stride, outer } = operand;
  const vector = isVector(tile, operand);
  const step = vector ? 4 : 1;
  const place = (e: number): string => {
    const line = `min(${first} + ${e * step}u, ${outer} - ${step}u)`;
    return `let ${name}Place${e} = ${base} + ${contiguous === 'depth' ? `${line} * ${stride}` : line};`;
  };
  const at = (e: number): string => `${name}Place${e} + ${contiguous === 'depth' ? 'k' : `k * ${stride}`}`;
  const read = (i: number): string =>
    vector
      ? `vec4<f32>(${name}[(${at(i)}) / 4u])`
      : `vec4<f32>(${range(4)
          .map((e) => `f32(${name}[${at(4 * i + e)}])`)
          .join(', ')})`;
  return [unroll(count / step, place), unroll(count / 4, (i) => `let ${name}${i} = ${read(i)};`)];
}

function stagedProduct(tile: ProductTile, a: Operand, b: Operand, from: string, to: string): string {
  const columns = tile.tileN / tile.threadN;
  return `
for (var k0 = ${from}; k0 < ${to}; k0 += ${tile.depth}u) {
${stage(tile, a, to)}
${stage(tile, b, to)}
workgroupBarrier();
for (var kk = 0u; kk < ${tile.depth}u; kk++) {
${unroll(tile.threadM / 4, (i) => `let a${i} = tileA[kk * ${tile.tileM / 4}u + (lane / ${columns}u) * ${tile.threadM / 4}u + ${i}u];`)}
${unroll(tile.threadN / 4, (j) => `let b${j} = tileB[kk * ${tile.tileN / 4}u + (lane % ${columns}u) * ${tile.threadN / 4}u + ${j}u];`)}
${multiply(tile)}
}
workgroupBarrier();
}`;
}

/** Copies a slice to workgroup memory. Storage that is contiguous along the depth is transposed in 4x4 blocks. */
function stage(tile: ProductTile, operand: Operand, to: string): string {
  const { name, contiguous, base, stride, outer } = operand;
  const [extent, start, shared] =
    name === 'a' ? [tile.tileM, 'rowStart', 'tileA'] : [tile.tileN, 'columnStart', 'tileB'];
  const threads = productThreads(tile);
  const blocks = (extent * tile.depth) / 16;
  const put = (i: number, value: string): string =>
    `${shared}[((inner + ${i}u) * ${extent}u + outer) / 4u] = ${value};`;
  const load = (line: string, position: string, bounds: string): string =>
    `${name}Load(${base} + (${line}) * ${stride}, ${line}, ${position}, ${bounds})`;
  const body =
    contiguous === 'depth'
      ? `
let outer = (item / ${tile.depth / 4}u) * 4u;
let inner = (item % ${tile.depth / 4}u) * 4u;
${unroll(4, (i) => `let v${i} = ${load(`${start} + outer + ${i}u`, 'k0 + inner', `${outer}, ${to}`)};`)}
${unroll(4, (i) => put(i, `vec4<f32>(v0[${i}], v1[${i}], v2[${i}], v3[${i}])`))}`
      : `
let inner = (item / ${extent / 4}u) * 4u;
let outer = (item % ${extent / 4}u) * 4u;
${unroll(4, (i) => put(i, load(`k0 + inner + ${i}u`, `${start} + outer`, `${to}, ${outer}`)))}`;
  return distribute(blocks, threads, body, blocks <= 2 * threads);
}

/** Reads four neighbours of a line as f32, zeros outside of the matrix. */
function loadFunction({ name, aligned }: Operand): string {
  const head = `fn ${name}Load(line0: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {`;
  if (aligned) {
    return `
${head}
  if (line >= lines || position >= positions) { return vec4<f32>(); }
  return vec4<f32>(${name}[(line0 + position) / 4u]);
}`;
  }
  return `
${head}
  var result = vec4<f32>();
  if (line >= lines) { return result; }
${unroll(4, (i) => `  if (position + ${i}u < positions) { result[${i}] = f32(${name}[line0 + position + ${i}u]); }`)}
  return result;
}`;
}

/** Where results go, as WGSL expressions of u32. */
export interface ResultPlace {
  readonly name: string;
  readonly element: ElementType;
  readonly base: string;
  readonly stride: string;
  /** Rows and columns that exist. */
  readonly m: string;
  readonly n: string;
  /** Factor of the sums. */
  readonly factor?: string;
  /** Adds to what is there. */
  readonly accumulate?: boolean;
}

/** Stores the sums. */
export function storeResults(tile: ProductTile, place: ResultPlace): string {
  const { name, element, base, stride, m, n, factor, accumulate } = place;
  const before = (type: string, at: string): string => (accumulate ? `${type}(${name}[${at}]) + ` : '');
  const value = (i: number, j: number): string => `${factor === undefined ? '' : `${factor} * `}c${i}_${j}`;
  const vectorStore = (i: number, j: number): string => `if (column + ${4 * j}u < ${n}) {
let at = (line + column) / 4u + ${j}u;
${name}[at] = ${element}(${before('vec4<f32>', 'at')}${value(i, j)});
}`;
  const scalarStores = (i: number, j: number): string =>
    unroll(4, (e) => {
      const at = `line + column + ${4 * j + e}u`;
      return `if (column + ${4 * j + e}u < ${n}) { ${name}[${at}] = ${element}(${before('f32', at)}${value(i, j)}[${e}]); }`;
    });
  return unroll(
    tile.threadM,
    (i) => `if (row + ${i}u < ${m}) {
let line = ${base} + (row + ${i}u) * ${stride};
${unroll(tile.threadN / 4, (j) => (element.startsWith('vec4') ? vectorStore(i, j) : scalarStores(i, j)))}
}`,
  );
}
