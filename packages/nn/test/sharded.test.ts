import { createKernels } from '@lazy-attention/backend-reference';
import { Backend, type Kernels, type Tensor } from '@lazy-attention/core';
import { afterAll, expect, it } from 'vitest';
import {
  type AdamWState,
  adamW,
  type Communicator,
  disposeParams,
  type Params,
  shardedAdamW,
  shardOf,
} from '../src/index.ts';

const backends: Backend[] = [];
afterAll(async () => {
  for (const backend of backends) await backend.dispose();
});

/** Ranks of one process: a broadcast ends when all have called it. */
function ranksOf(size: number): Communicator[] {
  const waiting: { bytes: Uint8Array; done: () => void }[][] = [];
  const calls = Array.from({ length: size }, () => 0);
  return calls.map((_, rank) => ({
    name: 'test',
    rank,
    size,
    allReduce: () => Promise.reject(new Error('not used')),
    broadcast: (bytes, root) =>
      new Promise((done) => {
        const call = calls[rank]++;
        waiting[call] ??= [];
        waiting[call][rank] = { bytes, done };
        if (waiting[call].filter(Boolean).length < size) return;
        for (const each of waiting[call]) {
          each.bytes.set(waiting[call][root].bytes);
          each.done();
        }
      }),
    barrier: async () => {},
    close: async () => {},
    abort: () => {},
  }));
}

const SHAPES = { w: [3, 5], tau: [2], norm: [7] };

function tensorsOf(backend: Backend, seed: number): Params {
  let at = seed;
  return Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [
        name,
        backend.tensor(
          Float32Array.from({ length: size }, () => Math.sin(at++)),
          shape,
        ),
      ];
    }),
  );
}

async function valuesOf(params: Params): Promise<Record<string, readonly number[]>> {
  const entries = Object.entries(params).map(async ([name, x]) => [name, [...(await x.data())]] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function newBackend(): Backend {
  const backend = new Backend(createKernels() as Kernels);
  backends.push(backend);
  return backend;
}

/** Two steps on `size` ranks, from `state` where it is given; the weights of each rank and the gathered state. */
async function train(size: number, state?: (backend: Backend) => AdamWState) {
  const ranks = ranksOf(size).map((communicator) => {
    const backend = newBackend();
    const params = tensorsOf(backend, 1);
    const options = state && { state: state(backend) };
    return { backend, params, optimizer: shardedAdamW(backend, params, communicator, options) };
  });
  for (const seed of [50, 90]) {
    await Promise.all(
      ranks.map(async ({ backend, optimizer }) => {
        const grads = tensorsOf(backend, seed);
        (await optimizer.step(grads, 0.1)).gradNormSquared.dispose();
        disposeParams(grads);
      }),
    );
  }
  const [gathered] = await Promise.all(ranks.map(({ optimizer }) => optimizer.gather()));
  return { weights: await Promise.all(ranks.map(({ params }) => valuesOf(params))), gathered, ranks };
}

async function whole() {
  const backend = newBackend();
  const params = tensorsOf(backend, 1);
  const optimizer = adamW(backend, params);
  for (const seed of [50, 90]) optimizer.step(tensorsOf(backend, seed), 0.1);
  return { weights: await valuesOf(params), state: optimizer.state() };
}

it.each([1, 2, 3, 4])('is AdamW bit for bit on %d ranks, and gathers its state', async (size) => {
  const expected = await whole();
  const { weights, gathered } = await train(size);
  for (const own of weights) expect(own).toEqual(expected.weights);
  expect(gathered?.steps).toBe(2);
  expect(await valuesOf(gathered?.m as Params)).toEqual(await valuesOf(expected.state.m));
  expect(await valuesOf(gathered?.v as Params)).toEqual(await valuesOf(expected.state.v));
});

it('goes on from the state of another number of ranks', async () => {
  const { gathered } = await train(3);
  const [m, v] = [await valuesOf(gathered?.m as Params), await valuesOf(gathered?.v as Params)];
  const onto = (backend: Backend, values: Record<string, readonly number[]>): Params =>
    Object.fromEntries(
      Object.entries(SHAPES).map(([name, shape]) => [name, backend.tensor(Float32Array.from(values[name]), shape)]),
    );
  const state = (backend: Backend) => ({ steps: 2, m: onto(backend, m), v: onto(backend, v) });
  const [two, four] = [await train(2, state), await train(4, state)];
  expect(two.weights[0]).toEqual(four.weights[3]);
});

it('keeps its part of m and v alone', async () => {
  const bytes = await Promise.all(
    [1, 2, 4].map(async (size) => {
      const backend = newBackend();
      const params: { w: Tensor } = { w: backend.zeros([64, 8]) };
      const before = backend.memory().bytes;
      const [communicator] = ranksOf(size);
      shardedAdamW(backend, params, communicator);
      return backend.memory().bytes - before;
    }),
  );
  expect(bytes).toEqual([4096, 2048, 1024]);
});

it('cuts a tensor into parts that cover it', () => {
  for (const [size, of] of [
    [7, 3],
    [2, 4],
    [8, 4],
  ]) {
    const parts = Array.from({ length: of }, (_, rank) => shardOf(size, rank, of));
    expect(parts[0].begin).toBe(0);
    expect(parts.at(-1)?.end).toBe(size);
    for (let i = 1; i < of; i++) expect(parts[i].begin).toBe(parts[i - 1].end);
  }
});
