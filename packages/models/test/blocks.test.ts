import { describe, expect, it } from 'vitest';
import { BLOCK_FORMATS } from '../src/gguf/blocks.ts';
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
});
