import { fromBF16Bits, fromF16Bits, toF16Bits } from '@lazy-attention/core';
import type { StoredBlocks } from '../tensors/store.ts';

/** How a type of GGUF stores its elements: blocks of `elements` in `bytes`. */
export interface BlockFormat {
  readonly name: string;
  /** Elements per block. */
  readonly elements: number;
  /** Bytes per block. */
  readonly bytes: number;
  /** Writes the elements of `blocks` blocks, which begin at `bytes[0]`, to `out`. */
  decode(bytes: Uint8Array, blocks: number, out: Float32Array | Float64Array): void;
  /** The same blocks as packed weights take them; left out where they cannot be kept. */
  readonly keep?: (bytes: Uint8Array, blocks: number) => StoredBlocks;
}

/** Half precision at a byte offset, little-endian. */
function half(bytes: Uint8Array, at: number): number {
  return fromF16Bits(bytes[at] | (bytes[at + 1] << 8));
}

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
    ...(hasHigh ? {} : { keep: (bytes, blocks) => keepNibbles(bytes, blocks, hasMinimum) }),
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
function keepNibbles(bytes: Uint8Array, blocks: number, hasMinimum: boolean): StoredBlocks {
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
  return { bits: 4, codes, scales, offsets };
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
    const codes = new Int8Array(blocks * 32);
    const scales = new Uint16Array(blocks);
    const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let block = 0; block < blocks; block++) {
      scales[block] = bytes[34 * block] | (bytes[34 * block + 1] << 8);
      codes.set(signed.subarray(34 * block + 2, 34 * block + 34), 32 * block);
    }
    return { bits: 8, codes, scales };
  },
  decode(bytes, blocks, out) {
    for (let block = 0; block < blocks; block++) {
      const at = block * 34;
      const d = half(bytes, at);
      for (let i = 0; i < 32; i++) out[block * 32 + i] = d * ((bytes[at + 2 + i] << 24) >> 24);
    }
  },
};

/** 256 elements d * scale * q - dmin * min in eight groups of 32, q of 4 bits, scales and minima of 6 bits packed in 12 bytes. */
const Q4_K: BlockFormat = {
  name: 'Q4_K',
  elements: 256,
  bytes: 144,
  decode(bytes, blocks, out) {
    for (let block = 0; block < blocks; block++) {
      const at = block * 144;
      const d = half(bytes, at);
      const dmin = half(bytes, at + 2);
      for (let group = 0; group < 8; group++) {
        const [scale, minimum] = scaleAndMinimum(bytes, at + 4, group);
        const step = d * scale;
        const offset = dmin * minimum;
        // Two groups share 32 bytes: the first has the low halves.
        const from = at + 16 + (group >>> 1) * 32;
        const shift = (group & 1) * 4;
        const to = block * 256 + group * 32;
        for (let i = 0; i < 32; i++) out[to + i] = step * ((bytes[from + i] >>> shift) & 15) - offset;
      }
    }
  },
};

/** The packing of Q4_K: groups 0 to 3 have a byte each, the others take 4 bits and the two high bits of an earlier byte. */
function scaleAndMinimum(bytes: Uint8Array, at: number, group: number): [number, number] {
  if (group < 4) return [bytes[at + group] & 63, bytes[at + 4 + group] & 63];
  const low = bytes[at + 4 + group];
  return [(low & 15) | ((bytes[at + group - 4] >>> 6) << 4), (low >>> 4) | ((bytes[at + group] >>> 6) << 4)];
}

/** 256 elements d * scale * (q - 32), q of 6 bits: 128 bytes of low halves, 64 of high pairs, 16 signed scales, d. */
const Q6_K: BlockFormat = {
  name: 'Q6_K',
  elements: 256,
  bytes: 210,
  decode(bytes, blocks, out) {
    for (let block = 0; block < blocks; block++) {
      const at = block * 210;
      const d = half(bytes, at + 208);
      for (let i = 0; i < 256; i++) {
        // Each half of 128 elements: four runs of 32 over the same 32 bytes of pairs and, two by two, the same 64 of low halves.
        const part = i >>> 7;
        const run = (i >>> 5) & 3;
        const low = bytes[at + part * 64 + (run & 1) * 32 + (i & 31)] >>> ((run >>> 1) * 4);
        const high = bytes[at + 128 + part * 32 + (i & 31)] >>> (run * 2);
        const scale = (bytes[at + 192 + (i >>> 4)] << 24) >> 24;
        out[block * 256 + i] = d * scale * (((low & 15) | ((high & 3) << 4)) - 32);
      }
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
  [12, Q4_K],
  [14, Q6_K],
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
