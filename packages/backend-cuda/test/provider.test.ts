import {
  Backend,
  BackendUnavailableError,
  type DType,
  DTypeError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
  ValueError,
} from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { provider } from '../src/index.ts';

describe('options', () => {
  test.each([
    [{ device: -1 }, /device is -1; expected the index of a GPU/],
    [{ device: 'fast' }, /device is fast; expected the index of a GPU/],
    [{ cublas: 'yes' }, /cublas is yes; expected auto, off or required/],
    [{ threads: 2 }, /threads/],
    [{ device: 'emulated', cublas: 'off' }, /cublas/],
    [
      { device: 'emulated', path: 'ampere' },
      /path is ampere; expected mma or hopper \(option path, LAZY_ATTENTION_CUDA_PATH\)/,
    ],
  ])('%o is refused by name', async (options, message) => {
    const creation = provider.create(options);
    await expect(creation).rejects.toThrow(ValueError);
    await expect(provider.create(options)).rejects.toThrow(message);
  });
});

describe('without a GPU', () => {
  test('the probe answers with what is missing and how to get it', async (context) => {
    const { available, reason, fix } = await provider.probe();
    if (available) context.skip('there is a GPU here');
    expect(reason).not.toBe('');
    expect(fix).toBeTruthy();
    await expect(provider.create({ device: 0 })).rejects.toThrow(BackendUnavailableError);
  });
});

describe('the emulated device', () => {
  test('says that it is one, and declares its types', async () => {
    const kernels = await provider.create({ device: 'emulated' });
    expect(kernels.device).toMatch(/emulated GPU/);
    expect([...kernels.dtypes].sort()).toEqual(['bf16', 'f16', 'f32', 'i32']);
    await kernels.dispose();
  });

  test('wrong types and head sizes are refused by name', async () => {
    const backend = new Backend(await provider.create({ device: 'emulated' }));
    const attend = (headDim: number, ...dtypes: DType[]) => {
      const [q, k, v] = [0, 1, 2].map((i) => backend.full([1, 2, 1, headDim], 1, dtypes[i % dtypes.length]));
      return backend.attention(q, k, v);
    };
    expect(() => attend(264, 'bf16')).toThrow(ShapeError);
    expect(() => attend(264, 'bf16')).toThrow(/head size \(264\) must be a multiple of 4, at most 256/);
    expect(() => attend(8, 'bf16', 'f16')).toThrow(DTypeError);
    expect(() => attend(8, 'bf16', 'f16')).toThrow(/k is f16 and q is bf16; expected one type; use cast/);
    expect(() => attend(8, 'i32')).toThrow(DTypeError);
    expect(() => backend.full([2], 1, 'f64')).toThrow(UnsupportedError);
    expect(() => backend.full([2], 1, 'f64')).toThrow(/has no f64; it has f32, bf16, f16, i32/);
    await backend.dispose();
  });

  test('a batch beyond what one launch takes is refused with the numbers, and the backend stays usable', async () => {
    const backend = new Backend(await provider.create({ device: 'emulated' }));
    const product = backend.matmul(backend.zeros([65_536, 1, 4]), backend.zeros([65_536, 4, 1]));
    await expect(product.data()).rejects.toThrow(UnsupportedError);
    const again = backend.matmul(backend.zeros([65_536, 1, 4]), backend.zeros([65_536, 4, 1]));
    await expect(again.data()).rejects.toThrow(/matmul.*65536 blocks; CUDA takes up to 65535 each\). Split the batch/);
    expect(await backend.full([1], 2).data()).toEqual(Float32Array.of(2));
    await backend.dispose();
  });

  test('large downloads, in several pieces, arrive whole', async () => {
    const backend = new Backend(await provider.create({ device: 'emulated' }));
    const size = 2 ** 21 + 3; // two pieces of 4 MiB and 12 bytes
    const values = await backend
      .tensor(
        Float32Array.from({ length: size }, (_, i) => i % 1009),
        [size],
      )
      .data();
    expect(values.length).toBe(size);
    expect(values.findIndex((value, i) => value !== i % 1009)).toBe(-1);
    await backend.dispose();
  });

  test('out of memory names what was asked for, what is free and what is held, and leaves the backend usable', async () => {
    const backend = new Backend(await provider.create({ device: 'emulated' }));
    const held = backend.full([1024], 1);
    const ask = () => backend.full([1_200_000_000], 0);
    expect(ask).toThrow(OutOfMemoryError);
    expect(ask).toThrow(/asked for 4800000000 bytes; \d+ free, \d+ held/);
    expect((await held.data())[1023]).toBe(1);
    await backend.dispose();
  });
});
