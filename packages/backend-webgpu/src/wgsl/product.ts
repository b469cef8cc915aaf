import { type Binding, type ElementType, read, type Scalar } from './kernel.ts';
import { distribute, range, unroll } from './text.ts';

/**
 * The inner part of every kernel that multiplies matrices: op(A) . op(B), blocked so that a workgroup computes
 * tileM x tileN results and an invocation threadM x threadN of them in registers. Two ways for operands to get there:
 *
 * - staged: slices of `depth` pass through workgroup memory, where both operands lie depth-major, so that an invocation
 *   reads its threadM + threadN values of a step as vec4s. For GPUs, whose caches alone do not feed the registers.
 * - direct: invocations read storage themselves, a step of the depth at a time, without workgroup memory or barriers. For
 *   drivers that compute on the CPU: there workgroup memory is memory like any other, and a barrier turns the kernel into
 *   a coroutine, which takes llvmpipe seconds to compile. Timings and what failed: docs/kernels/webgpu.md.
 */
export type ProductTile = {
  readonly tileM: number;
  readonly tileN: number;
  /** Multiples of 4. */
  readonly threadM: number;
  readonly threadN: number;
  readonly staged: boolean;
  /**
   * Depth of a staged slice, a multiple of 4. Direct: 1, or 4 to read that many steps at once as vec4 where B is contiguous
   * along the depth: faster for long lines, at four times the text to compile.
   */
  readonly depth: number;
};

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

/** Invocations of a workgroup. */
export const productThreads = ({ tileM, tileN, threadM, threadN }: ProductTile): number =>
  (tileM / threadM) * (tileN / threadN);

/** Steps of the depth that a direct product reads at once. */
const stepsOf = (tile: ProductTile, b: Operand): number => (b.contiguous === 'depth' && b.aligned ? tile.depth : 1);

const isVector = (tile: ProductTile, operand: Operand, b: Operand): boolean =>
  operand.aligned && (tile.staged || operand.contiguous === 'outer' || stepsOf(tile, b) === 4);

/** How the operands have to be bound. */
export function operandBindings(
  tile: ProductTile,
  a: Operand,
  b: Operand,
  types: readonly [Scalar, Scalar],
): { readonly a: Binding; readonly b: Binding } {
  const bound = (operand: Operand, type: Scalar) => read(isVector(tile, operand, b) ? `vec4<${type}>` : type);
  return { a: bound(a, types[0]), b: bound(b, types[1]) };
}

/** Module-scope code for `accumulateProduct`. */
export function productDeclarations(tile: ProductTile, a: Operand, b: Operand): string {
  if (!tile.staged) return '';
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
  return (tile.staged ? stagedProduct : directProduct)(tile, a, b, from, to);
}

const multiply = (tile: ProductTile): string =>
  overResults(tile, (i, j) => `c${i}_${j} = fma(vec4<f32>(a${i >> 2}[${i & 3}]), b${j}, c${i}_${j});`);

function directProduct(tile: ProductTile, a: Operand, b: Operand, from: string, to: string): string {
  const steps = stepsOf(tile, b);
  const readsA = directReads(a, 'row', tile.threadM, steps, isVector(tile, a, b));
  const readsB = directReads(b, 'column', tile.threadN, steps, isVector(tile, b, b));
  return `
    {
      ${readsA.places}
      ${readsB.places}
      for (var k = ${from}; k < ${to}; k += ${steps}u) {
        ${readsA.ahead}
        ${readsB.ahead}
        ${unroll(steps, (step) => `{\n${readsA.step(step)}\n${readsB.step(step)}\n${multiply(tile)}\n}`)}
      }
    }`;
}

interface DirectReads {
  /** Offsets that do not change along the depth. Lines that do not exist repeat the last one. */
  readonly places: string;
  /** Reads that serve several steps. */
  readonly ahead: string;
  /** Declares the values of a step as vec4s. */
  step(step: number): string;
}

function directReads(operand: Operand, first: string, count: number, steps: number, vector: boolean): DirectReads {
  const { name, contiguous, base, stride, outer } = operand;
  const alongDepth = contiguous === 'depth';
  const width = vector && !alongDepth ? 4 : 1;
  const place = (e: number): string => {
    const line = `min(${first} + ${e * width}u, ${outer} - ${width}u)`;
    return `let ${name}Place${e} = ${base} + ${alongDepth ? `${line} * ${stride}` : line};`;
  };
  const places = unroll(count / width, place);
  const fourOf = (value: (e: number) => string): string => `vec4<f32>(${range(4).map(value).join(', ')})`;
  const step = (read: (i: number, k: string) => string) => (at: number) =>
    unroll(count / 4, (i) => `let ${name}${i} = ${read(i, steps === 1 ? 'k' : `(k + ${at}u)`)};`);
  if (vector && alongDepth) {
    return {
      places,
      ahead: unroll(count, (e) => `let ${name}Line${e} = vec4<f32>(${name}[(${name}Place${e} + k) / 4u]);`),
      step: (at) => unroll(count / 4, (i) => `let ${name}${i} = ${fourOf((e) => `${name}Line${4 * i + e}[${at}]`)};`),
    };
  }
  const at = (e: number, k: string): string => `${name}Place${e} + ${alongDepth ? k : `${k} * ${stride}`}`;
  return {
    places,
    ahead: '',
    step: vector
      ? step((i, k) => `vec4<f32>(${name}[(${at(i, k)}) / 4u])`)
      : step((i, k) => fourOf((e) => `f32(${name}[${at(4 * i + e, k)}])`)),
  };
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
  /** Factor of the sums; 1 if left out. */
  readonly factor?: string | undefined;
}

const scaled = (factor: string | undefined, i: number, j: number): string =>
  `${factor === undefined ? '' : `${factor} * `}c${i}_${j}`;

const isVectorPlace = ({ element }: ResultPlace): boolean => element.startsWith('vec4');

/**
 * Multiplies the sums by the factor and adds what is there, read from clamped places. Doubles or triples llvmpipe's time to
 * compile the kernel.
 */
export function addToResults(tile: ProductTile, place: ResultPlace): string {
  const { name, base, stride, m, n, factor } = place;
  const at = (column: string, width: number): string => `line + min(${column}, ${n} - ${width}u)`;
  const value = (j: number): string =>
    isVectorPlace(place)
      ? `vec4<f32>(${name}[(${at(`column + ${4 * j}u`, 4)}) / 4u])`
      : `vec4<f32>(${range(4)
          .map((e) => `f32(${name}[${at(`column + ${4 * j + e}u`, 1)}])`)
          .join(', ')})`;
  return unroll(
    tile.threadM,
    (i) => `{
        let line = ${base} + min(row + ${i}u, ${m} - 1u) * ${stride};
        ${unroll(tile.threadN / 4, (j) => `c${i}_${j} = ${value(j)} + ${scaled(factor, i, j)};`)}
      }`,
  );
}

/** Stores the sums, times the factor. */
export function storeResults(tile: ProductTile, place: ResultPlace): string {
  const { name, element, base, stride, m, n, factor } = place;
  const vectorStore = (i: number, j: number): string =>
    `if (column + ${4 * j}u < ${n}) { ${name}[(line + column) / 4u + ${j}u] = ${element}(${scaled(factor, i, j)}); }`;
  const scalarStores = (i: number, j: number): string =>
    unroll(4, (e) => {
      const at = `column + ${4 * j + e}u`;
      return `if (${at} < ${n}) { ${name}[line + ${at}] = ${element}((${scaled(factor, i, j)})[${e}]); }`;
    });
  return unroll(
    tile.threadM,
    (i) => `if (row + ${i}u < ${m}) {
        let line = ${base} + (row + ${i}u) * ${stride};
        ${unroll(tile.threadN / 4, (j) => (isVectorPlace(place) ? vectorStore(i, j) : scalarStores(i, j)))}
      }`,
  );
}
