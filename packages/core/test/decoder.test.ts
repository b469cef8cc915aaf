import { expect, it } from 'vitest';
import { type Decoder, type DecoderLayerState, DTypeError, type FloatDType, ValueError } from '../src/index.ts';
import { stub } from './stub.ts';

it('weights and layers that are none are refused by name', async () => {
  const { backend } = stub('stub', ['f32', 'i32'], { decoder: { decode: () => ({}), layer: () => {} } });
  const { decode, layer } = backend.decoder as Required<Decoder>;
  const tokens = backend.zeros([1], 'i32');
  const options = { steps: 1, position: 0, ropeBase: null, epsilon: 1e-6, temperature: 0 };
  for (const decoder of [undefined, null, 7, [], {}, { layers: 1 }, { layers: [null] }, { layers: [{}] }]) {
    await expect(decode(tokens, decoder as never, options)).rejects.toThrow(ValueError);
  }
  for (const weights of [undefined, null, '', []]) {
    expect(() => layer(backend.zeros([1, 1, 8]), weights as never, {} as never)).toThrow(ValueError);
  }
});

it('decoding takes layers of one type', async () => {
  const { backend, live } = stub('stub', ['f32', 'f16', 'i32'], { decoder: { decode } });
  let launches = 0;
  function decode(): object {
    launches++;
    const ids = {};
    live.add(ids);
    return ids;
  }
  const layerOf = (dtype: FloatDType): DecoderLayerState => {
    const square = backend.zeros([8, 8], dtype);
    const norm = backend.zeros([8], dtype);
    const attention = { attentionNorm: norm, q: square, k: square, v: square, o: square };
    const cache = () => backend.zeros([1, 6, 2, 4], dtype);
    return {
      weights: { ...attention, mlpNorm: norm, gate: square, up: square, down: square },
      keys: cache(),
      values: cache(),
    };
  };
  const words = backend.zeros([5, 8]);
  const decodeWith = (...types: FloatDType[]) =>
    (backend.decoder as Decoder).decode(
      backend.zeros([1], 'i32'),
      { embeddings: words, layers: types.map(layerOf), norm: backend.zeros([8]), head: words },
      { steps: 1, position: 0, ropeBase: 10000, epsilon: 1e-6, temperature: 0 },
    );
  await expect(decodeWith('f16', 'f32')).rejects.toThrow(/layer 0: keys is f16 and norm is f32; expected one type/);
  await expect(decodeWith('f32', 'f16')).rejects.toThrow(/layer 1: keys is f16 and norm is f32; expected one type/);
  await expect(decodeWith('f32', 'f16')).rejects.toThrow(DTypeError);
  expect(launches).toBe(0);
  await decodeWith('f32', 'f32');
  expect(launches).toBe(1);
});
