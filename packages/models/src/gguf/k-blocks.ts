import { type BlockFormat, signed } from './block-format.ts';
import { superblocks } from './superblocks.ts';

/*
 * The k-quants: superblocks of 256 elements in groups of 16 or 32, each with a small scale of its own in units of the superblock's. Two bits of
 * an element lie with those of the elements 32, 64 and 96 further on in one byte, four bits with those of the one 32 further on.
 */

/** The two bits of element i in 64 bytes at `at`. */
function pair(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + (i >>> 7) * 32 + (i & 31)] >>> (((i >>> 5) & 3) * 2)) & 3;
}

/** The four bits of element i in 128 bytes at `at`. */
function nibble(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + (i >>> 6) * 32 + (i & 31)] >>> (((i >>> 5) & 1) * 4)) & 15;
}

/** d * scale * q - dmin * min, q of 2 bits: 16 bytes of scales (low halves) and minima, 64 of pairs, d, dmin. */
export const Q2_K: BlockFormat = superblocks({ name: 'Q2_K', bytes: 84, group: 16, d: 80, dmin: 82 }, (bytes, at) => ({
  code: (i) => pair(bytes, at + 16, i),
  factor: (group) => bytes[at + group] & 15,
  minimum: (group) => bytes[at + group] >>> 4,
}));

/** d * (scale - 32) * q, q of 3 bits less 4: 32 bytes of third bits, 64 of pairs, 12 of scales, d. */
export const Q3_K: BlockFormat = superblocks({ name: 'Q3_K', bytes: 110, group: 16, d: 108 }, (bytes, at) => ({
  code: (i) => pair(bytes, at + 32, i) + 4 * ((bytes[at + (i & 31)] >>> (i >>> 5)) & 1) - 4,
  // 16 scales of 6 bits: eight bytes have two low halves each, four bytes the high pairs.
  factor(group) {
    const low = (bytes[at + 96 + (group & 7)] >>> ((group >>> 3) * 4)) & 15;
    const high = (bytes[at + 104 + (group & 3)] >>> ((group >>> 2) * 2)) & 3;
    return (low | (high << 4)) - 32;
  },
}));

/** d * scale * q - dmin * min in groups of 32, q of 4 or 5 bits: d, dmin, 12 bytes of scales and minima, 32 of fifth bits, 128 of nibbles. */
function minimumBlocks(name: string, fifth: boolean): BlockFormat {
  const nibblesAt = fifth ? 48 : 16;
  const layout = { name, bytes: nibblesAt + 128, group: 32, d: 0, dmin: 2, fourBits: !fifth } as const;
  return superblocks(layout, (bytes, at) => ({
    code(i) {
      const high = fifth ? ((bytes[at + 16 + (i & 31)] >>> (i >>> 5)) & 1) << 4 : 0;
      return nibble(bytes, at + nibblesAt, i) | high;
    },
    // Groups 0 to 3 have a byte each for scale and minimum, the others take 4 bits and the two high bits of an earlier byte.
    factor: (group) =>
      group < 4 ? bytes[at + 4 + group] & 63 : (bytes[at + 8 + group] & 15) | ((bytes[at + group] >>> 6) << 4),
    minimum: (group) =>
      group < 4 ? bytes[at + 8 + group] & 63 : (bytes[at + 8 + group] >>> 4) | ((bytes[at + 4 + group] >>> 6) << 4),
  }));
}

export const Q4_K: BlockFormat = minimumBlocks('Q4_K', false);
export const Q5_K: BlockFormat = minimumBlocks('Q5_K', true);

/** d * scale * (q - 32), q of 6 bits: 128 bytes of low halves, 64 of high pairs, 16 signed scales, d. */
export const Q6_K: BlockFormat = superblocks({ name: 'Q6_K', bytes: 210, group: 16, d: 208 }, (bytes, at) => ({
  code(i) {
    // Each half of 128 elements: four runs of 32 over the same 32 bytes of pairs and, two by two, the same 64 of low halves.
    const run = (i >>> 5) & 3;
    const low = (bytes[at + (i >>> 7) * 64 + (run & 1) * 32 + (i & 31)] >>> ((run >>> 1) * 4)) & 15;
    return (low | (pair(bytes, at + 128, i) << 4)) - 32;
  },
  factor: (group) => signed(bytes[at + 192 + group]),
}));
