import { createKernels } from '@lazy-attention/backend-reference';
import { Backend, type Kernels } from '@lazy-attention/core';
import { afterAll, expect, it } from 'vitest';
import {
  addingGrad,
  batchTensors,
  disposeParams,
  hostAllReduce,
  lazyTransformer,
  memoryPlan,
  memoryTraits,
  oneProcess,
  preset,
  summedInBuckets,
} from '../src/index.ts';

const backends: Backend[] = [];
afterAll(async () => {
  for (const backend of backends) await backend.dispose();
});

function newBackend(): Backend {
  const backend = new Backend(createKernels() as Kernels);
  backends.push(backend);
  return backend;
}

/** Sums over ranks of one process, in their order; ends when all have called it. */
function sumsOf(ranks: number): ((values: Float32Array) => Promise<void>)[] {
  const waiting: { values: Float32Array; done: () => void }[][] = [];
  const calls = Array.from({ length: ranks }, () => 0);
  return calls.map((_, rank) => (values) => {
    const call = calls[rank]++;
    return new Promise((done) => {
      waiting[call] ??= [];
      waiting[call][rank] = { values, done };
      const all = waiting[call];
      if (all.filter(Boolean).length < ranks) return;
      const sum = all[0].values.map((_, i) => all.reduce((total, each) => Math.fround(total + each.values[i]), 0));
      for (const each of all) {
        each.values.set(sum);
        each.done();
      }
    });
  });
}

const SIZES = [300_000, 7, 70_000, 1, 90_000];

it('replaces tensors by their sums over the ranks, in pieces that go while others come', async () => {
  const results = await Promise.all(
    sumsOf(3).map(async (sum, rank) => {
      const backend = newBackend();
      const lengths: number[] = [];
      const allReduce = hostAllReduce((values) => {
        lengths.push(values.length);
        return sum(values);
      });
      const tensors = SIZES.map((size, n) => backend.full([size], (rank + 1) / (n + 3)));
      const before = backend.memory();
      const sums = summedInBuckets(backend, { ...oneProcess(), rank, size: 3, allReduce }, 0);
      for (const tensor of tensors) sums.add(tensor);
      await sums.finish();
      expect(backend.memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
      return { lengths, values: await Promise.all(tensors.map(async (x) => (await x.data())[0])) };
    }),
  );
  const expected = SIZES.map((_, n) => [1, 2, 3].reduce((sum, r) => Math.fround(sum + Math.fround(r / (n + 3))), 0));
  for (const { lengths, values } of results) {
    // A piece is sent as soon as it has 256 KiB.
    expect(lengths).toEqual([300_000, 70_007, 90_001]);
    expect(values).toEqual(expected);
  }
});

it('sends half of what is left at a time, and the rest when it is small', async () => {
  const backend = newBackend();
  const lengths: number[] = [];
  const allReduce = hostAllReduce(async (values) => void lengths.push(values.length));
  const tensor = backend.zeros([2 ** 14]);
  const sums = summedInBuckets(backend, { ...oneProcess(), size: 2, allReduce }, 4 * 2 ** 20);
  for (let n = 0; n < 64; n++) sums.add(tensor);
  await sums.finish();
  expect(lengths.map((length) => length / 2 ** 14)).toEqual([32, 16, 8, 4, 4]);
});

it('takes the memory on the host that a plan counts, in every step', async () => {
  const backend = newBackend();
  const config = preset('pico', { context: 16 });
  const model = lazyTransformer(config);
  const params = model.init(backend, 1);
  const bytes = Object.values(params).reduce((total, { size }) => total + 4 * size, 0);
  const arrays = new Set<ArrayBufferLike>();
  const lengths: number[] = [];
  const allReduce = hostAllReduce(async ({ buffer, length }) => {
    arrays.add(buffer);
    lengths.push(length);
  });
  const ids = new Int32Array(32);
  for (let step = 0; step < 3; step++) {
    const batch = batchTensors(backend, { tokens: ids, targets: ids, starts: null, batch: 2, length: 16 });
    const sums = summedInBuckets(backend, { ...oneProcess(), size: 2, allReduce }, bytes);
    const { value, grads } = addingGrad(backend, model.loss, sums.add)(params, null, batch);
    await sums.finish();
    disposeParams({ ...grads, value });
  }
  const { sums, peakBytes } = memoryPlan(config, { batch: 2, ranks: 2 }, memoryTraits(backend));
  expect(sums).toBe(bytes + 4 * Math.max(...lengths));
  const taken = [...arrays].reduce((total, { byteLength }) => total + byteLength, 0);
  expect(taken).toBeLessThanOrEqual(bytes);
  expect(taken).toBeGreaterThan(bytes / 2);
  const one = memoryPlan(config, { batch: 2 }, memoryTraits(backend));
  expect([one.sums, peakBytes]).toEqual([0, one.peakBytes + sums]);
});

it('sums in the order of the calls, whatever is read first', async () => {
  const called: number[] = [];
  const allReduce = hostAllReduce(async (values) => void called.push(values.length));
  const backend = newBackend();
  const slow = { readInto: () => new Promise<void>((done) => setTimeout(done, 30)), writeFrom: async () => {} };
  const [a, b] = [backend.zeros([5]), backend.zeros([3])];
  await Promise.all([allReduce(slow as never, [a]), allReduce(backend, [b])]);
  expect(called).toEqual([5, 3]);
});

it('tells of what failed, once it is waited for', async () => {
  const backend = newBackend();
  const allReduce = hostAllReduce(() => Promise.reject(new Error('the network is gone')));
  const sums = summedInBuckets(backend, { ...oneProcess(), size: 2, allReduce }, 0);
  sums.add(backend.zeros([100_000]));
  await new Promise((done) => setTimeout(done, 20));
  await expect(sums.finish()).rejects.toThrow('the network is gone');
});
