import { type ElementType, type KernelSource, read, write } from './module.ts';
import { distribute, range } from './text.ts';

/** Shape of the blocking: a workgroup computes tileM x tileN, an invocation threadM x threadN of it, depth at a time. */
export interface GemmTile {
  readonly tileM: number;
  readonly tileN: number;
  readonly depth: number;
  /** Multiples of 4. */
  readonly threadM: number;
  readonly threadN: number;
}

export interface GemmVariant {
  readonly tile: GemmTile;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly dtype: 'f32' | 'f16';
  /** m, n and k are all multiples of 4 where they are contiguous, so operands are read as vec4. */
  readonly aligned: boolean;
  /** Writes f32 sums for a later reduction instead of results in `dtype`. Same text as otherwise when dtype is f32. */
  readonly partial: boolean;
}

/**
 * One operand's way from storage to workgroup memory. In workgroup memory both operands lie depth-major (A as [depth,
 * tileM], B as [depth, tileN]), so an invocation reads its threadM + threadN values of a step as vec4s. Storage that is
 * contiguous along the depth is read as 4x4 blocks and transposed in registers.
 */
function loadOperand(variant: GemmVariant, operand: 'a' | 'b'): string {
  const { tile } = variant;
  const extent = operand === 'a' ? tile.tileM : tile.tileN;
  const outerSize = operand === 'a' ? 'params.m' : 'params.n';
  const outerStart = operand === 'a' ? 'rowStart' : 'columnStart';
  const depthContiguous = operand === 'a' ? !variant.transposeA : variant.transposeB;
  const shared = operand === 'a' ? 'tileA' : 'tileB';
  const threads = (tile.tileM / tile.threadM) * (tile.tileN / tile.threadN);
  const blocks = (extent * tile.depth) / 16;
  const blocksAlongDepth = tile.depth / 4;
  // (line, position): the contiguous direction is `position`.
  const load = (line: string, position: string): string =>
    `${operand}Load(${operand}Base, ${line}, ${position}, ${depthContiguous ? `${outerSize}, kEnd` : `kEnd, ${outerSize}`})`;
  const body = depthContiguous
    ? `
let outer = (item / ${blocksAlongDepth}u) * 4u;
let inner = (item % ${blocksAlongDepth}u) * 4u;
let line = ${outerStart} + outer;
let position = k0 + inner;
${range(4)
  .map((i) => `let v${i} = ${load(`line + ${i}u`, 'position')};`)
  .join('\n')}
${range(4)
  .map(
    (i) =>
      `${shared}[((inner + ${i}u) * ${extent}u + outer) / 4u] = vec4<f32>(v0[${i}], v1[${i}], v2[${i}], v3[${i}]);`,
  )
  .join('\n')}`
    : `
let inner = (item / ${extent / 4}u) * 4u;
let outer = (item % ${extent / 4}u) * 4u;
${range(4)
  .map(
    (i) =>
      `${shared}[((inner + ${i}u) * ${extent}u + outer) / 4u] = ${load(`k0 + inner + ${i}u`, `${outerStart} + outer`)};`,
  )
  .join('\n')}`;
  return distribute(blocks, threads, body, blocks <= 2 * threads);
}

/** Reads four neighbours along the contiguous direction as f32, zeros outside of the matrix. */
function loadFunction(name: 'a' | 'b', aligned: boolean): string {
  if (aligned) {
    return `
fn ${name}Load(base: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {
  if (line >= lines || position >= positions) { return vec4<f32>(); }
  return vec4<f32>(${name}[(base + line * params.${name}Stride + position) / 4u]);
}`;
  }
  return `
fn ${name}Load(base: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {
  var result = vec4<f32>();
  if (line >= lines) { return result; }
  let start = base + line * params.${name}Stride + position;
${range(4)
  .map((i) => `  if (position + ${i}u < positions) { result[${i}] = f32(${name}[start + ${i}u]); }`)
  .join('\n')}
  return result;
}`;
}

/**
 * out[z] = op(a) . op(b), tiled through workgroup memory and registers. Grid: x over column tiles, y over row tiles, z
 * over batch x splits. With more than one split each computes its own range of k into its own [m, n] of `out` (f32),
 * for a later sum in fixed order.
 */
export function gemm(variant: GemmVariant): KernelSource {
  const { tile, dtype, aligned } = variant;
  const { tileM, tileN, depth, threadM, threadN } = tile;
  const columns = tileN / threadN;
  const threads = (tileM / threadM) * columns;
  const element: ElementType = aligned ? (dtype === 'f16' ? 'vec4<f16>' : 'vec4<f32>') : dtype;
  const outElement: ElementType = variant.partial ? (aligned ? 'vec4<f32>' : 'f32') : element;
  const rows = range(threadM);
  const vectors = range(threadN / 4);

  const store = (i: number, j: number): string =>
    aligned
      ? `if (column + ${4 * j}u < params.n) {
  out[(outBase + row * params.n + column) / 4u + ${j}u] = ${outElement}(c${i}_${j});
}`
      : range(4)
          .map(
            (e) => `if (column + ${4 * j + e}u < params.n) {
  out[outBase + row * params.n + column + ${4 * j + e}u] = ${outElement}(c${i}_${j}[${e}]);
}`,
          )
          .join('\n');

  return {
    buffers: [read('a', element), read('b', element), write('out', outElement)],
    params: [
      ['m', 'u32'],
      ['n', 'u32'],
      ['k', 'u32'],
      ['aStride', 'u32'],
      ['bStride', 'u32'],
      ['splits', 'u32'],
      ['kPerSplit', 'u32'],
    ],
    workgroupSize: threads,
    declarations: `
var<workgroup> tileA: array<vec4<f32>, ${(tileM * depth) / 4}>;
var<workgroup> tileB: array<vec4<f32>, ${(tileN * depth) / 4}>;
${loadFunction('a', aligned)}
${loadFunction('b', aligned)}`,
    body: `
let batch = group.z / params.splits;
let split = group.z % params.splits;
let kStart = split * params.kPerSplit;
let kEnd = min(kStart + params.kPerSplit, params.k);
let aBase = batch * params.m * params.k;
let bBase = batch * params.k * params.n;
let outBase = group.z * params.m * params.n;
let rowStart = group.y * ${tileM}u;
let columnStart = group.x * ${tileN}u;
let ty = lane / ${columns}u;
let tx = lane % ${columns}u;
${rows.map((i) => vectors.map((j) => `var c${i}_${j} = vec4<f32>();`).join(' ')).join('\n')}
for (var k0 = kStart; k0 < kEnd; k0 += ${depth}u) {
${loadOperand(variant, 'a')}
${loadOperand(variant, 'b')}
workgroupBarrier();
for (var kk = 0u; kk < ${depth}u; kk++) {
${range(threadM / 4)
  .map((i) => `let a${i} = tileA[kk * ${tileM / 4}u + ty * ${threadM / 4}u + ${i}u];`)
  .join('\n')}
${vectors.map((j) => `let b${j} = tileB[kk * ${tileN / 4}u + tx * ${threadN / 4}u + ${j}u];`).join('\n')}
${rows
  .map((i) => vectors.map((j) => `c${i}_${j} = fma(vec4<f32>(a${i >> 2}[${i & 3}]), b${j}, c${i}_${j});`).join(' '))
  .join('\n')}
}
workgroupBarrier();
}
let column = columnStart + tx * ${threadN}u;
${rows
  .map(
    (i) => `{
let row = rowStart + ty * ${threadM}u + ${i}u;
if (row < params.m) {
${vectors.map((j) => store(i, j)).join('\n')}
}
}`,
  )
  .join('\n')}`,
  };
}
