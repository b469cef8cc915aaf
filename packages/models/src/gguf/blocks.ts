import { fromBF16Bits, fromF16Bits, toF16Bits, type WeightBlocks } from '@lazy-attention/core';
import { type BlockFormat, half, halfBits, keepEightBits, signed } from './block-format.ts';
import { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from './k-blocks.ts';
import { IQ4_NL, IQ4_XS } from './table-blocks.ts';

/** Elements of their own, without a scale. */
function plain(name: string, size: number, read: (view: DataView, at: number) => number): BlockFormat {
  return {
    name,
    elements: 1,
    bytes: size,
    decode(bytes, blocks, out) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let i = 0; i < blocks; i++) out[i] = read(view, i * size);
    },
  };
}

/**
 * 32 elements d * (q - shift) or d * q + m, with q of 4 or 5 bits: d, m if `hasMinimum`, the fifth bits if `hasHigh`, and 16 bytes whose low
 * halves are the elements 0 to 15 and whose high halves are 16 to 31.
 */
function nibbles(name: string, hasMinimum: boolean, hasHigh: boolean): BlockFormat {
  const shift = hasHigh ? 16 : 8;
  const highAt = hasMinimum ? 4 : 2;
  const lowAt = highAt + (hasHigh ? 4 : 0);
  const size = lowAt + 16;
  return {
    name,
    elements: 32,
    bytes: size,
    keep(bytes, blocks) {
      if (!hasHigh) return keepNibbles(bytes, blocks, hasMinimum);
      return hasMinimum ? keepFiveBitsAndMinimum(bytes, blocks) : keepFiveBits(bytes, blocks);
    },
    decode(bytes, blocks, out) {
      for (let block = 0; block < blocks; block++) {
        const at = block * size;
        const d = half(bytes, at);
        const m = hasMinimum ? half(bytes, at + 2) : 0;
        const to = block * 32;
        for (let i = 0; i < 16; i++) {
          const byte = bytes[at + lowAt + i];
          let low = byte & 15;
          let high = byte >>> 4;
          if (hasHigh) {
            low |= ((bytes[at + highAt + (i >>> 3)] >>> (i & 7)) & 1) << 4;
            high |= ((bytes[at + highAt + 2 + (i >>> 3)] >>> (i & 7)) & 1) << 4;
          }
          // Adding a minimum of 0 would turn -0 into 0.
          out[to + i] = hasMinimum ? d * low + m : d * (low - shift);
          out[to + 16 + i] = hasMinimum ? d * high + m : d * (high - shift);
        }
      }
    },
  };
}

/** Q4_0 and Q4_1: the offset is m, or -8 d, which is as exact in half precision as d. */
function keepNibbles(bytes: Uint8Array, blocks: number, hasMinimum: boolean): WeightBlocks {
  const size = hasMinimum ? 20 : 18;
  const codes = new Uint32Array(blocks * 4);
  const scales = new Uint16Array(blocks);
  const offsets = new Uint16Array(blocks);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let block = 0; block < blocks; block++) {
    const at = block * size;
    scales[block] = view.getUint16(at, true);
    offsets[block] = hasMinimum ? view.getUint16(at + 2, true) : toF16Bits(-8 * fromF16Bits(scales[block]));
    for (let i = 0; i < 2; i++) {
      const first = view.getUint32(at + size - 16 + 8 * i, true);
      const second = view.getUint32(at + size - 12 + 8 * i, true);
      codes[4 * block + i] = lowHalves(first) | (lowHalves(second) << 16);
      codes[4 * block + 2 + i] = lowHalves(first >>> 4) | (lowHalves(second >>> 4) << 16);
    }
  }
  return { dtype: 'w4', codes, scales, offsets };
}

/** Q5_0: codes less 16 have room in eight bits. */
function keepFiveBits(bytes: Uint8Array, blocks: number): WeightBlocks {
  return keepEightBits(bytes, blocks, 22, (at, codes, to) => fiveBits(bytes, at + 2, 16, codes, to));
}

/** Q5_1: eight bits, with the minimum as offset; factors are 1. */
function keepFiveBitsAndMinimum(bytes: Uint8Array, blocks: number): WeightBlocks {
  const kept = keepEightBits(bytes, blocks, 24, (at, codes, to) => fiveBits(bytes, at + 4, 0, codes, to));
  const offsets = Uint16Array.from({ length: blocks }, (_, block) => halfBits(bytes, block * 24 + 2));
  const ones = new Int8Array(2 * blocks).fill(1);
  return { ...kept, dtype: 'w8k', offsets, scaleFactors: ones, offsetFactors: ones };
}

/** 32 codes less `shift`, of four bytes of fifth bits and 16 of nibbles. */
function fiveBits(bytes: Uint8Array, at: number, shift: number, codes: Int8Array, to: number): void {
  for (let i = 0; i < 32; i++) {
    const nibble = (bytes[at + 4 + (i & 15)] >>> (i < 16 ? 0 : 4)) & 15;
    codes[to + i] = (nibble | (((bytes[at + (i >>> 3)] >>> (i & 7)) & 1) << 4)) - shift;
  }
}

/** The low halves of four bytes, side by side in 16 bits. */
function lowHalves(word: number): number {
  const halves = word & 0x0f0f0f0f;
  const pairs = (halves | (halves >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
}

/** 32 elements d * q with q of 8 bits. */
const Q8_0: BlockFormat = {
  name: 'Q8_0',
  elements: 32,
  bytes: 34,
  keep(bytes, blocks) {
    const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return keepEightBits(bytes, blocks, 34, (at, codes, to) => codes.set(signed.subarray(at + 2, at + 34), to));
  },
  decode(bytes, blocks, out) {
    for (let block = 0; block < blocks; block++) {
      const at = block * 34;
      const d = half(bytes, at);
      for (let i = 0; i < 32; i++) out[block * 32 + i] = d * signed(bytes[at + 2 + i]);
    }
  },
};

/** By GGML's number of the type. */
export const BLOCK_FORMATS: ReadonlyMap<number, BlockFormat> = new Map([
  [0, plain('F32', 4, (view, at) => view.getFloat32(at, true))],
  [1, plain('F16', 2, (view, at) => fromF16Bits(view.getUint16(at, true)))],
  [2, nibbles('Q4_0', false, false)],
  [3, nibbles('Q4_1', true, false)],
  [6, nibbles('Q5_0', false, true)],
  [7, nibbles('Q5_1', true, true)],
  [8, Q8_0],
  [10, Q2_K],
  [11, Q3_K],
  [12, Q4_K],
  [13, Q5_K],
  [14, Q6_K],
  [20, IQ4_NL],
  [23, IQ4_XS],
  [28, plain('F64', 8, (view, at) => view.getFloat64(at, true))],
  [30, plain('BF16', 2, (view, at) => fromBF16Bits(view.getUint16(at, true)))],
]);

/** Names of what is decoded, for messages. */
export const BLOCK_NAMES = Array.from(BLOCK_FORMATS.values(), ({ name }) => name).join(', ');

/** Other types of ggml, for the message that refuses them. */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [13, 'Q5_K'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [29, 'IQ1_M'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
]);

/** What a type that is not decoded is called. */
export function refusedName(type: number): string {
  return REFUSED.get(type) ?? `number ${type}`;
}
