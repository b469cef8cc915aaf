import { type BlockFormat, half, keepEightBits } from './block-format.ts';
import { superblocks } from './superblocks.ts';

/** What the 16 values of four bits stand for in IQ4: denser about 0. */
const TABLE = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** 32 elements step * TABLE[q]: low halves of 16 bytes, then their high halves. */
function group(
  bytes: Uint8Array,
  at: number,
  step: number,
  out: Float32Array | Float64Array | Int8Array,
  to: number,
): void {
  for (let i = 0; i < 16; i++) {
    out[to + i] = step * TABLE[bytes[at + i] & 15];
    out[to + 16 + i] = step * TABLE[bytes[at + i] >>> 4];
  }
}

/** 32 elements d * TABLE[q]. */
export const IQ4_NL: BlockFormat = {
  name: 'IQ4_NL',
  elements: 32,
  bytes: 18,
  keep(bytes, blocks) {
    return keepEightBits(bytes, blocks, 18, (at, codes, to) => group(bytes, at + 2, 1, codes, to));
  },
  decode(bytes, blocks, out) {
    for (let block = 0; block < blocks; block++) {
      group(bytes, block * 18 + 2, half(bytes, block * 18), out, block * 32);
    }
  },
};

/** 256 elements d * (scale - 32) * TABLE[q] in eight groups: d, 2 bytes of the scales' high pairs, 4 of their low halves, 128 of nibbles. */
export const IQ4_XS: BlockFormat = superblocks({ name: 'IQ4_XS', bytes: 136, group: 32, d: 0 }, (bytes, at) => ({
  code: (i) => TABLE[(bytes[at + 8 + (i >>> 5) * 16 + (i & 15)] >>> (((i >>> 4) & 1) * 4)) & 15],
  factor(group) {
    const low = (bytes[at + 4 + (group >>> 1)] >>> ((group & 1) * 4)) & 15;
    const high = (bytes[at + 2 + (group >>> 2)] >>> (2 * (group & 3))) & 3;
    return (low | (high << 4)) - 32;
  },
}));
