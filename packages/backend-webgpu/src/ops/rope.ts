import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { rope } from '../wgsl/rope.ts';
import { allocate, elementGrid, scalarOf } from './shared.ts';

const POSITIONS_PER_BLOCK = 256;
/** Blocks of positions per table, so that decoding uploads a new one only every 16384 positions. */
const BLOCKS_PER_TABLE = 64;

/** cos and sin of position * base^(-2d/D) for `count` positions from `first`, `step` apart; in double. [count, D / 2, 2] */
export function rotations(
  base: number,
  half: number,
  first: number,
  step: number,
  count: number,
): Float32Array<ArrayBuffer> {
  const table = new Float32Array(count * half * 2);
  for (let d = 0; d < half; d++) {
    const frequency = base ** (-d / half);
    for (let i = 0; i < count; i++) {
      const angle = (first + i) * step * frequency;
      table[(i * half + d) * 2] = Math.cos(angle);
      table[(i * half + d) * 2 + 1] = Math.sin(angle);
    }
  }
  return table;
}

/** Tables for positions `offset` to `offset + length`: of their low 8 bits, and of the blocks from `firstHigh` on. */
function ropeTables(
  rt: Runtime,
  base: number,
  half: number,
  offset: number,
  length: number,
): { readonly low: DeviceBuffer; readonly high: DeviceBuffer; readonly firstHigh: number } {
  const firstHigh = Math.floor(offset / POSITIONS_PER_BLOCK / BLOCKS_PER_TABLE) * BLOCKS_PER_TABLE;
  const tables = Math.ceil(((offset + length) / POSITIONS_PER_BLOCK - firstHigh) / BLOCKS_PER_TABLE);
  const highs = tables * BLOCKS_PER_TABLE;
  const low = rt.constant(`rope/${base}/${half}/low`, () => rotations(base, half, 0, 1, POSITIONS_PER_BLOCK));
  const high = rt.constant(`rope/${base}/${half}/${firstHigh}/${highs}`, () =>
    rotations(base, half, firstHigh, POSITIONS_PER_BLOCK, highs),
  );
  return { low, high, firstHigh };
}

/** Rotations by tables of angles. */
export function ropeKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'rope'> {
  return {
    rope(x, { base, offset, inverse }) {
      const [, length, heads, headDim] = x.shape;
      const half = headDim / 2;
      const { low, high, firstHigh } = ropeTables(rt, base, half, offset, length);
      const out = allocate(rt, x.shape, x.dtype);
      const pairs = elementCount(x.shape) / 2;
      rt.run(
        rope,
        { type: scalarOf(x.dtype) },
        {
          buffers: { x: x.buffer, low, high, y: out },
          params: { pairs, half, heads, length, offset, firstHigh, sign: inverse ? -1 : 1 },
          grid: elementGrid(pairs),
        },
      );
      return out;
    },
  };
}
