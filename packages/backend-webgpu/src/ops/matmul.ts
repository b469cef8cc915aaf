import type { Kernels, MatmulProblem } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { type GemmTile, type GemmVariant, gemm } from '../wgsl/gemm.ts';
import { splitSum } from '../wgsl/reduce.ts';
import { allocate, linearGrid, scalarOf, withScratch } from './shared.ts';

/** For large products: 8x8 results per invocation and as much reuse as workgroup memory of 16 KiB allows. */
export const LARGE_TILE: GemmTile = { tileM: 128, tileN: 128, depth: 16, threadM: 8, threadN: 8 };
/** For products that the large tile would cut into too few pieces to fill a GPU. */
export const MEDIUM_TILE: GemmTile = { tileM: 64, tileN: 64, depth: 16, threadM: 8, threadN: 8 };
/** For a handful of rows, as in decoding: reads b once and wastes little on absent rows. */
export const FLAT_TILE: GemmTile = { tileM: 8, tileN: 128, depth: 16, threadM: 8, threadN: 4 };

/** Workgroups below which a product is split along k. */
const FEW_GROUPS = 32;
/** Least depth of a split, so that the sum of the parts stays cheap beside the parts. */
const MIN_SPLIT_DEPTH = 256;

const name = ({ tileM, tileN }: GemmTile): string => `${tileM}x${tileN}`;

export function chooseTile({ m, n }: Pick<MatmulProblem, 'm' | 'n'>): GemmTile {
  if (m <= 8) return FLAT_TILE;
  return m >= 512 && n >= 512 ? LARGE_TILE : MEDIUM_TILE;
}

/** In how many parts k is cut: more only where there would be too few workgroups. */
export function chooseSplits({ batch, m, n, k }: MatmulProblem, tile: GemmTile): number {
  const groups = batch * Math.ceil(m / tile.tileM) * Math.ceil(n / tile.tileN);
  return Math.max(1, Math.min(Math.ceil(FEW_GROUPS / groups), Math.floor(k / MIN_SPLIT_DEPTH)));
}

/** Whether every row of the operands and of the result starts on a vec4. */
function isAligned({ m, n, k, transposeA, transposeB }: MatmulProblem): boolean {
  return n % 4 === 0 && (transposeA ? m : k) % 4 === 0 && (transposeB ? k : n) % 4 === 0;
}

export function matmulKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'matmul'> {
  return {
    matmul(a, b, problem, accumulate) {
      const { batch, m, n, k, transposeA, transposeB } = problem;
      const type = scalarOf(a.dtype);
      const tile = chooseTile(problem);
      const splits = chooseSplits(problem, tile);
      const kPerSplit = Math.ceil(k / splits / tile.depth) * tile.depth;
      const partial = splits > 1 || accumulate !== null;
      const variant: GemmVariant = {
        tile,
        transposeA,
        transposeB,
        dtype: type,
        aligned: isAligned(problem),
        partial: partial && type === 'f16',
      };
      const layout = `${transposeA ? 't' : 'n'}${transposeB ? 't' : 'n'}`;
      const key = `matmul/${layout}/${type}/${name(tile)}${variant.aligned ? '' : '/unaligned'}${variant.partial ? '/partial' : ''}`;
      const multiply = (out: DeviceBuffer): void =>
        rt.run(
          key,
          () => gemm(variant),
          [a.buffer, b.buffer, out],
          [m, n, k, transposeA ? m : k, transposeB ? k : n, splits, kPerSplit],
          [Math.ceil(n / tile.tileN), Math.ceil(m / tile.tileM), batch * splits],
        );

      if (!partial) {
        const out = allocate(rt, [batch, m, n], a.dtype);
        multiply(out);
        return out;
      }
      const out = accumulate?.buffer ?? allocate(rt, [batch, m, n], a.dtype);
      withScratch(rt, [batch * splits * m * n], (parts) => {
        multiply(parts);
        rt.run(
          `splitSum/${type}`,
          () => splitSum(type),
          [parts, out],
          [batch * m * n, m * n, splits, accumulate === null ? 0 : 1],
          linearGrid(Math.ceil((batch * m * n) / 64)),
        );
      });
      return out;
    },
  };
}
