import { type ElementType, kernel, type Scalar, write } from './kernel.ts';
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

/** What decides the text of a product. */
export type GemmVariant = {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly type: Scalar;
  readonly tile: ProductTile;
  /** m, n and k are multiples of 4 where an operand or the result is contiguous, so rows are read as vec4. */
  readonly aligned: boolean;
  /** Writes f32 sums for a later reduction instead of results in `type`. Same text as otherwise when that is f32. */
  readonly partial: boolean;
  /** Adds to `out`. */
  readonly accumulate: boolean;
};

/**
 * out[z] = op(a) . op(b). Grid: x over column tiles, y over row tiles, z over batch x splits. With more than one split each
 * computes its own range of k into its own [m, n] of `out` (f32), for a later sum in fixed order.
 */
export const gemm = kernel({
  name: 'matmul',
  params: { m: 'u32', n: 'u32', k: 'u32', aStride: 'u32', bStride: 'u32', splits: 'u32', kPerSplit: 'u32' },
  text: ({ transposeA, transposeB, type, tile, aligned, partial, accumulate }: GemmVariant) => {
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
    const scalar = partial ? 'f32' : type;
    const element: ElementType = aligned ? `vec4<${scalar}>` : scalar;
    const place: ResultPlace = {
      name: 'out',
      element,
      base: 'outBase',
      stride: 'params.n',
      m: 'params.m',
      n: 'params.n',
    };
    return {
      buffers: { ...operandBindings(tile, a, b, [type, type]), out: write(element) },
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
  },
});
