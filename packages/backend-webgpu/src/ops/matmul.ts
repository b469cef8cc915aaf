import type { Kernels, MatmulProblem } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { type GemmVariant, gemm } from '../wgsl/gemm.ts';
import type { ProductTile } from '../wgsl/product.ts';
import { splitSum } from '../wgsl/sums.ts';
import { allocate, elementGrid, scalarOf, withScratch } from './shared.ts';

/** Tiles of products, by the shape of the result. */
interface Tiles {
  readonly large: ProductTile;
  readonly medium: ProductTile;
  readonly flat: ProductTile;
}

/** 8x8 results per invocation, and as much reuse as workgroup memory of 16 KiB allows. */
export const STAGED_TILES: Tiles = {
  large: { tileM: 128, tileN: 128, staged: true, depth: 16, threadM: 8, threadN: 8 },
  /** For products that the large tile would cut into too few pieces to fill a GPU. */
  medium: { tileM: 64, tileN: 64, staged: true, depth: 16, threadM: 8, threadN: 8 },
  /** For a handful of rows, as in decoding: reads b once and wastes little on absent rows. */
  flat: { tileM: 8, tileN: 128, staged: true, depth: 16, threadM: 8, threadN: 4 },
};

/** Without workgroup memory a larger tile reuses nothing more; it only pays to read more at once. */
export const DIRECT_TILES: Tiles = {
  large: { ...STAGED_TILES.medium, staged: false, depth: 4 },
  medium: { ...STAGED_TILES.medium, staged: false, depth: 1 },
  flat: { ...STAGED_TILES.flat, staged: false, depth: 1 },
};

/** Workgroups below which a product is split along k; a processor needs no more than it has cores. */
const FEW_GROUPS = { hardware: 32, software: 4 };
/** Splits are whole staged slices, which keeps reads along k on vec4s too. */
const SPLIT_STEP = 16;
/** Least depth of a split, so that the sum of the parts stays cheap beside the parts. */
const MIN_SPLIT_DEPTH = 256;

/** See product.ts for what suits a software adapter. */
export function chooseTile({ m, n }: Pick<MatmulProblem, 'm' | 'n'>, software: boolean): ProductTile {
  const tiles = software ? DIRECT_TILES : STAGED_TILES;
  if (m <= 8) return tiles.flat;
  return m >= 512 && n >= 512 ? tiles.large : tiles.medium;
}

/** In how many parts k is cut: more only where there would be too few workgroups. */
export function chooseSplits({ batch, m, n, k }: MatmulProblem, tile: ProductTile, software: boolean): number {
  const few = software ? FEW_GROUPS.software : FEW_GROUPS.hardware;
  const groups = batch * Math.ceil(m / tile.tileM) * Math.ceil(n / tile.tileN);
  return Math.max(1, Math.min(Math.ceil(few / groups), Math.floor(k / MIN_SPLIT_DEPTH)));
}

/** Whether every row of the operands and of the result starts on a vec4. */
function isAligned({ m, n, k, transposeA, transposeB }: MatmulProblem): boolean {
  return n % 4 === 0 && (transposeA ? m : k) % 4 === 0 && (transposeB ? k : n) % 4 === 0;
}

/** Products in tiles that suit the adapter; deep and narrow ones are split along k. */
export function matmulKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'matmul'> {
  return {
    matmul(a, b, problem, accumulate) {
      const { batch, m, n, k, transposeA, transposeB } = problem;
      const type = scalarOf(a.dtype);
      const { software } = rt.capabilities;
      const tile = chooseTile(problem, software);
      const splits = chooseSplits(problem, tile, software);
      const kPerSplit = Math.ceil(k / splits / SPLIT_STEP) * SPLIT_STEP;
      // Where compilation is slow, accumulating kernels of their own would cost more than a pass over the result.
      const direct = splits === 1 && (accumulate === null || !software);
      const variant: GemmVariant = {
        transposeA,
        transposeB,
        type,
        tile,
        aligned: isAligned(problem),
        partial: !direct && type === 'f16',
        accumulate: direct && accumulate !== null,
      };
      const multiply = (out: DeviceBuffer): void =>
        rt.run(gemm, variant, {
          buffers: { a: a.buffer, b: b.buffer, out },
          params: { m, n, k, aStride: transposeA ? m : k, bStride: transposeB ? k : n, splits, kPerSplit },
          grid: [Math.ceil(n / tile.tileN), Math.ceil(m / tile.tileM), batch * splits],
        });

      const out = accumulate?.buffer ?? allocate(rt, [batch, m, n], a.dtype);
      if (direct) {
        multiply(out);
        return out;
      }
      withScratch(rt, [batch * splits * m * n], (parts) => {
        multiply(parts);
        rt.run(
          splitSum,
          { type },
          {
            buffers: { partial: parts, result: out },
            params: { elements: batch * m * n, size: m * n, splits, accumulate: accumulate === null ? 0 : 1 },
            grid: elementGrid(batch * m * n),
          },
        );
      });
      return out;
    },
  };
}
