import { type BlockFormat, half, signed } from './block-format.ts';

/*
 * The k-quants: superblocks of 256 elements in groups of 16 or 32, each with a small scale of its own in units of the superblock's. Two bits of
 * an element lie with those of the elements 32, 64 and 96 further on in one byte, four bits with those of the one 32 further on.
 */

/** Decodes superblocks of `bytes` bytes by `element(bytes, at, i)`, the value of element i of the block at `at`. */
function superblocks(
  name: string,
  bytes: number,
  element: (bytes: Uint8Array, at: number) => (i: number) => number,
): BlockFormat {
  return {
    name,
    elements: 256,
    bytes,
    decode(data, blocks, out) {
      for (let block = 0; block < blocks; block++) {
        const value = element(data, block * bytes);
        for (let i = 0; i < 256; i++) out[block * 256 + i] = value(i);
      }
    },
  };
}

/** The two bits of element i in 64 bytes at `at`. */
function pair(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + (i >>> 7) * 32 + (i & 31)] >>> (((i >>> 5) & 3) * 2)) & 3;
}

/** The four bits of element i in 128 bytes at `at`. */
function nibble(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + (i >>> 6) * 32 + (i & 31)] >>> (((i >>> 5) & 1) * 4)) & 15;
}

/** d * scale * q - dmin * min, q of 2 bits: 16 bytes of scales (low halves) and minima, 64 of pairs, d, dmin. */
export const Q2_K: BlockFormat = superblocks('Q2_K', 84, (bytes, at) => {
  const d = half(bytes, at + 80);
  const dmin = half(bytes, at + 82);
  return (i) => {
    const packed = bytes[at + (i >>> 4)];
    return d * (packed & 15) * pair(bytes, at + 16, i) - dmin * (packed >>> 4);
  };
});

/** d * (scale - 32) * q, q of 3 bits less 4: 32 bytes of third bits, 64 of pairs, 12 of scales, d. */
export const Q3_K: BlockFormat = superblocks('Q3_K', 110, (bytes, at) => {
  const d = half(bytes, at + 108);
  // 16 scales of 6 bits: eight bytes have two low halves each, four bytes the high pairs.
  const scales = Array.from({ length: 16 }, (_, k) => {
    const low = (bytes[at + 96 + (k & 7)] >>> ((k >>> 3) * 4)) & 15;
    const high = (bytes[at + 104 + (k & 3)] >>> ((k >>> 2) * 2)) & 3;
    return d * ((low | (high << 4)) - 32);
  });
  return (i) => {
    const third = (bytes[at + (i & 31)] >>> (i >>> 5)) & 1;
    return scales[i >>> 4] * (pair(bytes, at + 32, i) + third * 4 - 4);
  };
});

/** d * scale * q - dmin * min in groups of 32, q of 4 or 5 bits: d, dmin, 12 bytes of scales and minima, 32 of fifth bits, 128 of nibbles. */
function minimumBlocks(name: string, fifth: boolean): BlockFormat {
  const nibblesAt = fifth ? 48 : 16;
  return superblocks(name, nibblesAt + 128, (bytes, at) => {
    const d = half(bytes, at);
    const dmin = half(bytes, at + 2);
    const groups = Array.from({ length: 8 }, (_, group) => {
      const [scale, minimum] = scaleAndMinimum(bytes, at + 4, group);
      return { step: d * scale, offset: dmin * minimum };
    });
    return (i) => {
      const { step, offset } = groups[i >>> 5];
      const high = fifth ? ((bytes[at + 16 + (i & 31)] >>> (i >>> 5)) & 1) << 4 : 0;
      return step * (nibble(bytes, at + nibblesAt, i) | high) - offset;
    };
  });
}

/** Groups 0 to 3 have a byte each for scale and minimum, the others take 4 bits and the two high bits of an earlier byte. */
function scaleAndMinimum(bytes: Uint8Array, at: number, group: number): [number, number] {
  if (group < 4) return [bytes[at + group] & 63, bytes[at + 4 + group] & 63];
  const low = bytes[at + 4 + group];
  return [(low & 15) | ((bytes[at + group - 4] >>> 6) << 4), (low >>> 4) | ((bytes[at + group] >>> 6) << 4)];
}

export const Q4_K: BlockFormat = minimumBlocks('Q4_K', false);
export const Q5_K: BlockFormat = minimumBlocks('Q5_K', true);

/** d * scale * (q - 32), q of 6 bits: 128 bytes of low halves, 64 of high pairs, 16 signed scales, d. */
export const Q6_K: BlockFormat = superblocks('Q6_K', 210, (bytes, at) => {
  const d = half(bytes, at + 208);
  return (i) => {
    // Each half of 128 elements: four runs of 32 over the same 32 bytes of pairs and, two by two, the same 64 of low halves.
    const run = (i >>> 5) & 3;
    const low = (bytes[at + (i >>> 7) * 64 + (run & 1) * 32 + (i & 31)] >>> ((run >>> 1) * 4)) & 15;
    return d * signed(bytes[at + 192 + (i >>> 4)]) * ((low | (pair(bytes, at + 128, i) << 4)) - 32);
  };
});
