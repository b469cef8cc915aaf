import type { WeightBlocks } from '@lazy-attention/core';
import { type BlockFormat, half, halfBits } from './block-format.ts';

/** A superblock of 256 elements in groups: d * factor * code - dmin * minimum, factor and minimum one per group. */
interface Superblock {
  /** Of element i. */
  readonly code: (i: number) => number;
  /** Of a group; -128 to 127. */
  readonly factor: (group: number) => number;
  /** Of a group; left out: there is none. */
  readonly minimum?: (group: number) => number;
}

/** Where the parts of a superblock are. */
interface Layout {
  readonly name: string;
  readonly bytes: number;
  /** Elements of a group. */
  readonly group: 16 | 32;
  /** Byte offset of d, in half precision. */
  readonly d: number;
  /** Of dmin; left out where there are no minima. */
  readonly dmin?: number;
  /** Codes from 0 to 15 in groups of 32 are kept as four bits, others as eight. */
  readonly fourBits?: boolean;
}

/** The format whose superblock at `at` is what `read` says. */
export function superblocks(layout: Layout, read: (bytes: Uint8Array, at: number) => Superblock): BlockFormat {
  const { name, bytes: size, group, d, dmin } = layout;
  return {
    name,
    elements: 256,
    bytes: size,
    keep: (bytes, blocks) => keepSuperblocks(layout, read, bytes, blocks),
    decode(bytes, blocks, out) {
      for (let block = 0; block < blocks; block++) {
        const at = block * size;
        const { code, factor, minimum } = read(bytes, at);
        for (let k = 0; k < 256 / group; k++) {
          const step = half(bytes, at + d) * factor(k);
          // Taking off a minimum of 0 would turn -0 into 0.
          const least = dmin === undefined || minimum === undefined ? null : half(bytes, at + dmin) * minimum(k);
          for (let i = k * group; i < (k + 1) * group; i++) {
            out[block * 256 + i] = least === null ? step * code(i) : step * code(i) - least;
          }
        }
      }
    },
  };
}

/** d and -dmin for every 32 elements, factors and minima for every 32 or 16, and codes. */
function keepSuperblocks(
  { bytes: size, group, d, dmin, fourBits = false }: Layout,
  read: (bytes: Uint8Array, at: number) => Superblock,
  bytes: Uint8Array,
  blocks: number,
): WeightBlocks {
  const perFactor = fourBits ? 32 : 16;
  const scales = new Uint16Array(blocks * 8);
  const offsets = new Uint16Array(blocks * 8);
  const scaleFactors = new Int8Array((blocks * 256) / perFactor);
  const offsetFactors = new Int8Array(scaleFactors.length);
  const words = new Uint32Array(fourBits ? blocks * 32 : 0);
  const codes = new Int8Array(fourBits ? 0 : blocks * 256);
  for (let block = 0; block < blocks; block++) {
    const at = block * size;
    const { code, factor, minimum } = read(bytes, at);
    scales.fill(halfBits(bytes, at + d), block * 8, block * 8 + 8);
    if (dmin !== undefined) offsets.fill(halfBits(bytes, at + dmin) ^ 0x8000, block * 8, block * 8 + 8);
    for (let k = 0; k < 256 / perFactor; k++) {
      const from = Math.floor((k * perFactor) / group);
      const to = (block * 256) / perFactor + k;
      scaleFactors[to] = factor(from);
      offsetFactors[to] = minimum?.(from) ?? 0;
    }
    for (let i = 0; i < 256; i++) {
      if (fourBits) words[block * 32 + (i >>> 3)] |= code(i) << (4 * (i & 7));
      else codes[block * 256 + i] = code(i);
    }
  }
  const scaled = { scales, offsets, scaleFactors, offsetFactors };
  return fourBits ? { dtype: 'w4k', codes: words, ...scaled } : { dtype: 'w8k', codes, ...scaled };
}
