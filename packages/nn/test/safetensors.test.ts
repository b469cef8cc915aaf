import { describe, expect, it } from 'vitest';
import { CheckpointError, decodeSafetensors, encodeSafetensors, type HostTensor } from '../src/index.ts';

const tensors: Record<string, HostTensor> = {
  a: { dtype: 'f32', shape: [2, 2], data: new Float32Array([1, -2.5, 3e-20, 4]) },
  b: { dtype: 'i32', shape: [3], data: new Int32Array([1, -1, 2 ** 31 - 1]) },
  c: { dtype: 'bf16', shape: [2], data: new Float32Array([1.5, -256]) },
  d: { dtype: 'f16', shape: [1, 1], data: new Float32Array([0.099975586]) },
  e: { dtype: 'f64', shape: [], data: new Float64Array([Math.PI]) },
};

describe('safetensors', () => {
  it('lays bytes out as the format says', () => {
    const bytes = encodeSafetensors(
      { x: { dtype: 'f32', shape: [2], data: new Float32Array([1, -2]) } },
      { format: 'pt' },
    );
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    expect(new TextDecoder().decode(bytes.subarray(8, 8 + length)).trimEnd()).toBe(
      '{"__metadata__":{"format":"pt"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    );
    expect([...bytes.subarray(8 + length)]).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
  });

  it('reads what it writes, bit for bit, in every type', () => {
    const read = decodeSafetensors(encodeSafetensors(tensors, { note: 'ü' }));
    expect(read).toEqual({ tensors, metadata: { note: 'ü' } });
  });

  it('writes halves to nearest', () => {
    const bytes = encodeSafetensors({ x: { dtype: 'bf16', shape: [1], data: new Float32Array([1.00390625]) } });
    expect([...bytes.slice(-2)]).toEqual([0x80, 0x3f]); // halfway between 1 and 1.0078125: to even
  });

  it('reads names that are properties of objects', () => {
    const odd = { constructor: tensors.a, __proto__x: tensors.b };
    expect(Object.keys(decodeSafetensors(encodeSafetensors(odd)).tensors)).toEqual(['constructor', '__proto__x']);
  });

  const file = (header: unknown, data: number, length?: number) => {
    const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
    const bytes = new Uint8Array(8 + json.length + data);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? json.length), true);
    bytes.set(json, 8);
    return bytes;
  };
  const x = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  it.each<[string, Uint8Array]>([
    ['no bytes', new Uint8Array(0)],
    ['a header longer than the file', file({ x }, 8, 5000)],
    ['an absurd header', file({ x }, 8, 2 ** 40)],
    ['a header that is no JSON', file('{"x":', 8)],
    ['a header that is an array', file([], 0)],
    ['invalid UTF-8', file({ x }, 8).fill(0xff, 9, 12)],
    ['missing data', file({ x }, 4)],
    ['data nobody describes', file({ x }, 12)],
    ['a gap', file({ x, y: { ...x, data_offsets: [12, 20] } }, 20)],
    ['an overlap', file({ x, y: { ...x, data_offsets: [4, 12] } }, 12)],
    ['offsets that do not fit the shape', file({ x: { ...x, shape: [3] } }, 8)],
    ['a type that is not supported', file({ x: { ...x, dtype: 'F8_E4M3' } }, 8)],
    ['a type that is no text either', file({ x: { ...x, dtype: { toString: 1 } } }, 8)],
    ['a name twice', file(`{"x":${JSON.stringify(x)},"x":${JSON.stringify(x)}}`, 8)],
    ['a negative size', file({ x: { ...x, shape: [-2] } }, 8)],
    ['no offsets', file({ x: { dtype: 'F32', shape: [2] } }, 8)],
    ['metadata that is no map of strings', file({ __metadata__: { a: 1 } }, 0)],
  ])('refuses %s', (_, bytes) => {
    expect(() => decodeSafetensors(bytes, 'x.safetensors')).toThrow(CheckpointError);
    expect(() => decodeSafetensors(bytes, 'x.safetensors')).toThrowErrorMatchingSnapshot();
  });
});
