import { fromF16Bits, type WeightBlocks } from '@lazy-attention/core';

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
  readonly keep?: (bytes: Uint8Array, blocks: number) => WeightBlocks;
}

/** Half precision at a byte offset, little-endian. */
export function half(bytes: Uint8Array, at: number): number {
  return fromF16Bits(halfBits(bytes, at));
}

/** The bits of that. */
export function halfBits(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** Two's complement of a byte. */
export function signed(byte: number): number {
  return (byte << 24) >> 24;
}

/** Blocks of `size` bytes that begin with a scale in half precision: `write` puts the 32 codes of the block at `at` to `codes[to]`. */
export function keepEightBits(
  bytes: Uint8Array,
  blocks: number,
  size: number,
  write: (at: number, codes: Int8Array, to: number) => void,
): Extract<WeightBlocks, { dtype: 'w8' }> {
  const codes = new Int8Array(blocks * 32);
  const scales = new Uint16Array(blocks);
  for (let block = 0; block < blocks; block++) {
    const at = block * size;
    scales[block] = halfBits(bytes, at);
    write(at, codes, block * 32);
  }
  return { dtype: 'w8', codes, scales };
}
