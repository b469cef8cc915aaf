import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { OutOfMemoryError } from '@lazy-attention/core';
import type { NativeKernels } from '@lazy-attention/native';
import { expect, test } from 'vitest';
import { provider } from '../src/index.ts';
import { cpu } from './helpers.ts';

test('a memory limit gives an OutOfMemoryError with the bytes asked for, free and held, and the backend goes on', async () => {
  const backend = await cpu({ memoryLimit: 1 << 20 });
  const a = backend.zeros([1024]);
  const error = await caught(() => backend.zeros([1 << 20]));
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect((error as OutOfMemoryError).requestedBytes).toBe(4 << 20);
  expect((error as Error).message).toMatch(
    /memoryLimit of 1048576 bytes.*asked for 4194304 bytes; \d+ free, 4096 held/,
  );
  expect(await backend.add(a, a).data()).toEqual(new Float32Array(1024));
  await backend.dispose();
});

test('a limit of Infinity is none', async () => {
  const backend = await cpu({ memoryLimit: Number.POSITIVE_INFINITY });
  expect(await backend.full([2], 3).data()).toEqual(Float32Array.of(3, 3));
  await backend.dispose();
});

test('cached memory is given back before a limit is reported as reached', async () => {
  const backend = await cpu({ memoryLimit: 1 << 20 });
  for (const size of [100_000, 120_000, 140_000, 170_000]) backend.zeros([size]).dispose();
  const last = backend.zeros([200_000]);
  expect((await last.data()).length).toBe(200_000);
  await backend.dispose();
});

test('memory that the system does not have is an OutOfMemoryError, and the backend goes on', async () => {
  const kernels = await provider.create({});
  for (const size of [2 ** 38, 2 ** 60]) {
    const error = await caught(() => kernels.full([size], 0, 'f32'));
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect((error as OutOfMemoryError).requestedBytes).toBe(4 * size);
    expect((error as Error).message).toMatch(/^full: .*asked for \d+ bytes; \d+ free, \d+ held/);
  }
  const buffer = kernels.full([2], 3, 'f32');
  expect(await kernels.read({ buffer, shape: [2], dtype: 'f32' })).toEqual(new Float32Array([3, 3]));
  await kernels.dispose();
});

test('attention over 16,384 tokens, forward and backward, needs little more than its inputs and outputs', async () => {
  const kernels = (await provider.create({})) as unknown as NativeKernels;
  const [length, dim] = [16_384, 64];
  const tensor = (shape: number[], value: number) => ({
    buffer: kernels.full(shape, value, 'f32'),
    shape,
    dtype: 'f32' as const,
  });
  const [q, k, v, dOutput] = [0, 1, 2, 3].map((i) => tensor([1, length, 1, dim], 0.01 * i));
  const sizes = {
    batch: 1,
    queryLength: length,
    keyLength: length,
    keyCapacity: length,
    heads: 1,
    kvHeads: 1,
    headDim: dim,
    window: 512,
  };
  const inputs = {
    sizes,
    scale: 0.125,
    q,
    k,
    v,
    bias: tensor([1, 512], 0),
    tau: tensor([1], -1),
    sink: null,
    starts: null,
  };
  const { output, saved } = kernels.attention(inputs, true);
  if (saved === null) throw new Error('nothing saved');
  kernels.attentionGrad(dOutput, inputs, { buffer: output, shape: q.shape, dtype: 'f32' }, saved);
  await kernels.synchronize();
  const tensors = 8 * length * dim * 4; // q, k, v, dOutput, output and three gradients
  expect(kernels.nativeMemory().peak - tensors).toBeLessThan(100e6);
  await kernels.dispose();
}, 1_800_000); // minutes below a sanitizer

test('100,000 op calls with disposal leave memory as it was', async () => {
  const kernels = (await provider.create({ threads: 1 })) as unknown as NativeKernels;
  const x = kernels.upload(new Float32Array(64).fill(1), [64], 'f32');
  const tensor = (buffer: typeof x) => ({ buffer, shape: [64], dtype: 'f32' as const });
  const before = { resident: 0, system: 0 };
  const view = { shape: [64], sizes: [64], stridesA: [1], stridesB: [1] };
  for (let i = 0; i < 100_000; i++) {
    const sum = kernels.binary(tensor(x), tensor(x), 'add', view);
    const product = kernels.binary(tensor(sum), tensor(x), 'mul', view);
    kernels.free(sum);
    kernels.free(product);
    if (i === 20_000) {
      await kernels.synchronize();
      before.resident = process.memoryUsage().rss;
      before.system = kernels.nativeMemory().systemAllocations;
    }
  }
  await kernels.synchronize();
  const { inUse, systemAllocations } = kernels.nativeMemory();
  expect(inUse).toBe(256);
  expect(systemAllocations).toBe(before.system);
  // Handles are collected in time: what is left of 160,000 of them would be over 100 MB.
  expect(process.memoryUsage().rss - before.resident).toBeLessThan(60e6);
  await kernels.dispose();
}, 300_000);

const FORGETFUL = `
  const { provider } = await import(process.argv[1]);
  const kernels = await provider.create({ threads: 1 });
  const megabyte = 1 << 18;
  const kept = kernels.full([megabyte], 1, 'f32');
  for (let i = 0; i < 2500; i++) kernels.full([16], 0, 'f32');
  for (let round = 0; round < 20; round++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { inUse } = kernels.nativeMemory();
  const values = await kernels.read({ buffer: kept, shape: [megabyte], dtype: 'f32' });
  process.stdout.write(JSON.stringify({ small: (inUse - 4 * megabyte) / 256, intact: values.every((x) => x === 1) }));
`;

test('what is forgotten is given back once it is collected, but for the latest', async () => {
  const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', FORGETFUL, dist],
    { timeout: 60_000 },
  );
  const { small, intact } = JSON.parse(stdout) as { small: number; intact: boolean };
  expect(intact).toBe(true);
  expect(small).toBeLessThanOrEqual(1024);
}, 60_000);

async function caught(fn: () => unknown): Promise<unknown> {
  try {
    await fn();
  } catch (error) {
    return error;
  }
  return null;
}
