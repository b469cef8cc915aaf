import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend, type Tensor } from '@lazy-attention/core';
import { createCache, encodeSafetensors, generate, lazyTransformer, preset } from '@lazy-attention/nn';
import { loadParams } from '@lazy-attention/nn/node';
import { describe, expect, test } from 'vitest';
import { open, unavailable } from './support.ts';
import { train } from './train.ts';

/** Steps of the long run, a multiple of 100. 10,000 take a few minutes on a software adapter. */
const LONG = Number(process.env.LAZY_ATTENTION_LONG_STEPS ?? 300);
const TINY = { vocabSize: 32, hiddenSize: 16, numLayers: 1, numHeads: 2, context: 16, intermediateSize: 32 };

const onReference = async () => new Backend(await reference.create({}));

describe.skipIf(unavailable !== null)(`models${unavailable === null ? '' : `: ${unavailable}`}`, () => {
  test('50 steps of pico follow the reference', { timeout: 300_000 }, async () => {
    const oracle = await onReference();
    const expected = await train(oracle, preset('pico'), 50);
    await oracle.dispose();
    const { backend } = await open();
    const losses = await train(backend, preset('pico'), 50);
    await backend.dispose();
    expect(expected[49]).toBeLessThan(expected[0] - 1);
    for (const [i, loss] of losses.entries()) {
      expect(Math.abs(loss / expected[i] - 1), `step ${i + 1}: ${loss}, ${expected[i]}`).toBeLessThan(1e-3);
    }
  });

  test('parameters of a bf16 file are loaded as f32, which there is', async () => {
    const { backend } = await open();
    const folder = mkdtempSync(join(tmpdir(), 'lazy-attention-webgpu-'));
    const path = join(folder, 'model.safetensors');
    writeFileSync(path, encodeSafetensors({ b: { dtype: 'bf16', shape: [2], data: Float32Array.of(1.5, -0.375) } }));
    const { b } = await loadParams(backend, path);
    expect([b?.dtype, ...((await b?.data()) ?? [])]).toEqual(['f32', 1.5, -0.375]);
    await backend.dispose();
    rmSync(folder, { recursive: true });
  });

  describe('decoding with pico', () => {
    const prompts = [Uint8Array.from([5, 10, 15, 20]), Uint8Array.from([1, 6, 13, 16, 21, 3, 8])];

    /** Tokens of a greedy continuation, beyond the context of 64, row by row. */
    async function continuation(backend: Backend): Promise<number[][]> {
      const steps: number[][] = [];
      const how = { maxNewTokens: 72, temperature: 0 };
      const model = lazyTransformer(preset('pico'));
      for await (const next of generate(backend, model, model.init(backend, 1), prompts, how)) {
        steps.push([...next]);
      }
      return steps;
    }

    /** Logits of each position in turn from a cache, and of all of them at once. */
    async function logits(backend: Backend): Promise<{ cached: number[]; whole: number[] }> {
      const { config, forward, init } = lazyTransformer(preset('pico'));
      const params = init(backend, 1);
      const ids = Int32Array.from({ length: 24 }, (_, i) => (i * 5) % 23);
      const read = async (tensor: Tensor) => [...(await tensor.data())];
      const cache = createCache(backend, config, { batch: 1, capacity: ids.length });
      const cached: number[] = [];
      for (const id of ids) {
        const token = backend.tensor(Int32Array.of(id), [1, 1]);
        cached.push(...(await read(forward(backend, params, token, { cache, positions: 'last' }))));
      }
      const whole = await read(forward(backend, params, backend.tensor(ids, [1, ids.length])));
      return { cached, whole };
    }

    test('tokens are those of the reference', { timeout: 300_000 }, async () => {
      const [{ backend }, oracle] = [await open(), await onReference()];
      const expected = await continuation(oracle);
      expect(await continuation(backend)).toEqual(expected);
      expect(new Set(expected.flat()).size).toBeGreaterThan(5);
      await Promise.all([backend.dispose(), oracle.dispose()]);
    });

    test('a token takes five dispatches for a layer and two, and what begins a call', {
      timeout: 300_000,
    }, async () => {
      const { backend, kernels } = await open();
      const model = lazyTransformer(preset('pico'));
      const params = model.init(backend, 1);
      const dispatches = async (maxNewTokens: number): Promise<number> => {
        const before = kernels.stats().dispatches;
        const drawing = generate(backend, model, params, [prompts[0]], { maxNewTokens, topK: 5, topP: 0.9, seed: 1 });
        for await (const next of drawing) expect(next).toHaveLength(1);
        return kernels.stats().dispatches - before;
      };
      const perToken = ((await dispatches(50)) - (await dispatches(10))) / 40;
      const least = 5 * model.config.numLayers + 2;
      expect(perToken).toBeGreaterThanOrEqual(least);
      expect(perToken).toBeLessThan(least + 1);
      await backend.dispose();
    });

    test('logits are those of the reference, from a cache and at once', { timeout: 300_000 }, async () => {
      const [{ backend }, oracle] = [await open(), await onReference()];
      const [actual, expected] = [await logits(backend), await logits(oracle)];
      const largest = Math.max(...expected.whole.map(Math.abs));
      for (const how of ['cached', 'whole'] as const) {
        expect(actual[how]).toHaveLength(expected.whole.length);
        const errors = actual[how].map((value, i) => Math.abs(value - expected.whole[i]));
        expect(Math.max(...errors) / largest, how).toBeLessThan(1e-3);
      }
      await Promise.all([backend.dispose(), oracle.dispose()]);
    });
  });

  test('a step of nano is one submit, and what it needs is compiled and allocated by the second', {
    timeout: 300_000,
  }, async () => {
    const { backend, kernels } = await open();
    const seen: ReturnType<typeof kernels.stats>[] = [];
    await train(backend, preset('nano'), 3, () => seen.push(kernels.stats()));
    const [, second, third] = seen;
    expect(third.submits - second.submits).toBe(1);
    expect(third.dispatches - second.dispatches).toBeGreaterThan(100);
    expect(third.pipelines).toBe(second.pipelines);
    expect(third.buffersCreated).toBe(second.buffersCreated);
    await backend.dispose();
  });

  test(`${LONG} steps of create, train, dispose hold their bytes`, { timeout: 1_800_000 }, async () => {
    const { backend, kernels } = await open();
    const held: unknown[] = [];
    const perStep: number[] = [];
    for (let steps = 0; steps < LONG; steps += 100) {
      const before = kernels.stats().submits;
      await train(backend, TINY, 100);
      const { liveBytes, idleBytes, peakBytes, buffersCreated, pipelines, submits } = kernels.stats();
      held.push({ backend: backend.memory(), liveBytes, idleBytes, peakBytes, buffersCreated, pipelines });
      perStep.push((submits - before) / 100);
    }
    console.log(`bytes after each 100 steps: ${JSON.stringify(held[0])} to ${JSON.stringify(held[held.length - 1])}`);
    for (const each of held) expect(each).toEqual(held[0]);
    expect(Math.max(...perStep)).toBeLessThanOrEqual(2);
    expect(backend.memory()).toMatchObject({ tensors: 0, bytes: 0 });
    await backend.dispose();
  });

  test('a backend that is created, trained on and disposed of again and again leaves no device behind', {
    timeout: 300_000,
  }, async () => {
    const losses: number[][] = [];
    for (let round = 0; round < 4; round++) {
      const { backend } = await open();
      losses.push(await train(backend, TINY, 2));
      await backend.dispose();
    }
    for (const each of losses) expect(each).toEqual(losses[0]);
  });

  // What makes an op cheap in JavaScript; scripts/bench.mjs overhead measures it, core included.
  test('a repeated op is one dispatch: no submit, buffer or pipeline of its own', async () => {
    const { backend, kernels } = await open();
    const [a, b] = [backend.full([64, 64], 1), backend.full([64, 64], 1)];
    const ops: Record<string, () => Tensor> = {
      add: () => backend.add(a, b),
      matmul: () => backend.matmul(a, b),
    };
    for (const [name, op] of Object.entries(ops)) {
      op().dispose();
      await kernels.synchronize();
      const { dispatches, ...before } = kernels.stats();
      for (let n = 0; n < 1000; n++) op().dispose();
      expect(kernels.stats(), name).toEqual({ ...before, dispatches: dispatches + 1000 });
      await kernels.synchronize();
    }
    a.dispose();
    b.dispose();
    await backend.dispose();
  });
});
