import { type ElementType, type KernelSource, write } from './module.ts';
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

export interface GemmVariant {
  readonly tile: ProductTile;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly dtype: 'f32' | 'f16';
  /** m, n and k are all multiples of 4 where they are contiguous, so operands are read as vec4. */
  readonly aligned: boolean;
  /** Writes f32 sums for a later reduction instead of results in `dtype`. Same text as otherwise when dtype is f32. */
  readonly partial: boolean;
  /** Adds to `out`. */
  readonly accumulate: boolean;
}

/**
 * out[z] = op(a) . op(b). Grid: x over column tiles, y over row tiles, z over batch x splits. With more than one split each
 * computes its own range of k into its own [m, n] of `out` (f32), for a later sum in fixed order.
 */
export function gemm({ tile, transposeA, transposeB, dtype, aligned, partial, accumulate }: GemmVariant): KernelSource {
  const a: Operand = {
    name: 'a',
    contiguous: transposeA ? 'outer' : 'depth',
    aligned,
    base: 'aBase',
    stride: 'params.aStride',
    outer: 'params.m',
  };
  const b: Operand = {
    name: 'b',
    contiguous: transposeB ? 'depth' : 'outer',
    aligned,
    base: 'bBase',
    stride: 'params.bStride',
    outer: 'params.n',
  };
  const scalar = partial ? 'f32' : dtype;
  const outElement: ElementType = aligned ? `vec4<${scalar}>` : scalar;
  const place: ResultPlace = {
    name: 'out',
    element: outElement,
    base: 'outBase',
    stride: 'params.n',
    m: 'params.m',
    n: 'params.n',
  };
  return {
    buffers: [...operandBindings(tile, a, b, [dtype, dtype]), write('out', outElement)],
    params: [
      ['m', 'u32'],
      ['n', 'u32'],
      ['k', 'u32'],
      ['aStride', 'u32'],
      ['bStride', 'u32'],
      ['splits', 'u32'],
      ['kPerSplit', 'u32'],
    ],
    workgroupSize: productThreads(tile),
    declarations: productDeclarations(tile, a, b),
    body: `
let batch = group.z / params.splits;
let split = group.z % params.splits;
let kStart = split * params.kPerSplit;
let kEnd = min(kStart + params.kPerSplit, params.k);
let aBase = batch * params.m * params.k;
let bBase = batch * params.k * params.n;
let outBase = group.z * params.m * params.n;
let rowStart = group.y * ${tile.tileM}u;
let columnStart = group.x * ${tile.tileN}u;
${declareResults(tile, 'rowStart', 'columnStart')}
${accumulateProduct(tile, a, b, 'kStart', 'kEnd')}
${accumulate ? addToResults(tile, place) : ''}
${storeResults(tile, place)}`,
  };
}
