import { packBlocks, unpackWeights } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { BLOCK_FORMATS } from '../src/gguf/blocks.ts';
import { reorderBlocks, reorderHeads } from '../src/rows.ts';
import { readFixture } from './helpers.ts';

interface Case {
  readonly type: number;
  readonly name: string;
  readonly bytes: string;
  readonly values: string;
}

const bytesOf = (base64: string) => Uint8Array.from(Buffer.from(base64, 'base64'));

describe('quantisations of GGUF', () => {
  it.each(readFixture<Case[]>('blocks.json'))(
    'decodes $name as the gguf package does',
    ({ type, name, bytes, values }) => {
      const format = BLOCK_FORMATS.get(type)!;
      expect(format.name).toBe(name);
      const expected = new Float64Array(bytesOf(values).buffer);
      const data = bytesOf(bytes);
      expect(data.length / format.bytes).toBe(expected.length / format.elements);
      const out = name === 'F64' ? new Float64Array(expected.length) : new Float32Array(expected.length);
      format.decode(data, data.length / format.bytes, out);
      expect(Array.from(out)).toEqual(Array.from(expected));
    },
  );

  it.each(readFixture<Case[]>('blocks.json').filter(({ type }) => BLOCK_FORMATS.get(type)?.keep !== undefined))(
    'keeps the blocks of $name with the same values',
    ({ type, bytes }) => {
      const { decode, keep, elements, bytes: size } = BLOCK_FORMATS.get(type)!;
      const data = bytesOf(bytes);
      // 16 rows of two blocks, whichever the fixture has.
      const rows = new Uint8Array(32 * size).map((_, i) => data[i % data.length]);
      const blocks = keep!(rows, 32);
      const packed = packBlocks([16, 2 * elements], blocks);
      const out = new Float32Array(32 * elements);
      decode(rows, 32, out);
      // Of Q4_0 a weight of -0 comes back as 0.
      expect(Array.from(unpackWeights(packed), (w) => w + 0)).toEqual(Array.from(out, (w) => w + 0));
      const moved = packBlocks([16, 2 * elements], reorderBlocks(blocks, 2 * elements, 8));
      const expected = reorderHeads(out, 2 * elements, 8);
      expect(Array.from(unpackWeights(moved), (w) => w + 0)).toEqual(Array.from(expected, (w) => w + 0));
    },
  );
});
