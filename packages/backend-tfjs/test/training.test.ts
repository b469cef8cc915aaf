import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provider as reference } from '@lazy-attention/backend-reference';
import { provider } from '@lazy-attention/backend-tfjs';
import { Backend } from '@lazy-attention/core';
import {
  adamW,
  batchTensors,
  cosineSchedule,
  disposeParams,
  encodeSafetensors,
  type LazyTransformerOptions,
  lazyTransformer,
  preset,
  valueAndGrad,
} from '@lazy-attention/nn';
import { loadParams } from '@lazy-attention/nn/node';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';

/** Losses of a training run on text of a fixed pattern; `every` sees the step that has just been made. */
async function train(backend: Backend, options: LazyTransformerOptions, steps: number, every?: (step: number) => void) {
  const model = lazyTransformer(options);
  const { context } = model.config;
  const params = model.init(backend, 1);
  const optimizer = adamW(backend, params);
  const learningRate = cosineSchedule({ peak: 3e-3, warmupSteps: 5, steps });
  const lossAndGrads = valueAndGrad(backend, model.loss);
  const byte = (at: number) => (at * 5 + (at % 3)) % 23;
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const batch = batchTensors(backend, {
      tokens: Int32Array.from({ length: context }, (_, i) => byte(step * 5 + i)),
      targets: Int32Array.from({ length: context }, (_, i) => byte(step * 5 + i + 1)),
      starts: Int32Array.from({ length: context }, (_, i) => (i < context / 2 ? 0 : context / 2)),
      batch: 1,
      length: context,
    });
    const { value, grads } = lossAndGrads(params, batch);
    const { gradNormSquared } = optimizer.step(grads, learningRate(step));
    losses.push((await value.data())[0]);
    for (const tensor of [value, gradNormSquared, ...Object.values(batch)]) tensor?.dispose();
    disposeParams(grads);
    every?.(step);
  }
  return losses;
}

it('follows the losses of the reference for 50 steps of pico', { timeout: 120_000 }, async () => {
  const oracle = new Backend(await reference.create({}));
  const expected = await train(oracle, preset('pico'), 50);
  await oracle.dispose();
  expect(expected[49]).toBeLessThan(expected[0] - 1);
  const backend = new Backend(await provider.create({ engine: 'wasm' }));
  const losses = await train(backend, preset('pico'), 50);
  for (const [i, loss] of losses.entries()) {
    expect(Math.abs(loss / expected[i] - 1), `step ${i + 1}: ${loss}, ${expected[i]}`).toBeLessThan(1e-3);
  }
  await backend.dispose();
});

it('holds the same tensors after 1,000 training steps as after two', { timeout: 120_000 }, async () => {
  const backend = new Backend(await provider.create({ engine: 'wasm' }));
  const tiny = { vocabSize: 97, hiddenSize: 8, numLayers: 1, numHeads: 2, context: 8, intermediateSize: 8 };
  const seen = new Map<number, tf.MemoryInfo>();
  await train(backend, tiny, 1000, (step) => {
    if (step === 2 || step === 1000) seen.set(step, tf.memory());
  });
  expect(seen.get(1000)?.numTensors).toBe(seen.get(2)?.numTensors);
  expect(seen.get(1000)?.numBytes).toBe(seen.get(2)?.numBytes);
  await backend.dispose();
});

it.each(['cpu', 'wasm'])('loads parameters of a bf16 file as f32, which it has (%s)', async (engine) => {
  const backend = new Backend(await provider.create({ engine }));
  const folder = mkdtempSync(join(tmpdir(), 'lazy-attention-tfjs-'));
  const path = join(folder, 'model.safetensors');
  writeFileSync(path, encodeSafetensors({ b: { dtype: 'bf16', shape: [2], data: Float32Array.of(1.5, -0.375) } }));
  const { b } = await loadParams(backend, path);
  expect([b.dtype, ...(await b.data())]).toEqual(['f32', 1.5, -0.375]);
  await backend.dispose();
  rmSync(folder, { recursive: true });
});
