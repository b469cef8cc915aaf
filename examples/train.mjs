// A language model on a few lines of text: trained, saved as safetensors, read again.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBackend } from '@lazy-attention/core';
import { adamW, cosineSchedule, lazyTransformer, preset, valueAndGrad } from '@lazy-attention/nn';
import { loadCheckpoint, saveCheckpoint } from '@lazy-attention/nn/node';

const backend = await createBackend('auto');
const model = lazyTransformer(preset('pico', { context: 32 }));
const params = model.init(backend, 1);
const optimizer = adamW(backend, params);
const [steps, batch] = [40, 4];
const rate = cosineSchedule({ peak: 3e-3, warmupSteps: 5, steps });

const text = new TextEncoder().encode('It was the best of times, it was the worst of times. '.repeat(20));
/** Rows of 32 bytes from places that depend on the step, and the byte after each. */
const rows = (step, shift) =>
  Int32Array.from(
    { length: batch * 32 },
    (_, i) => text[((step * 37 + Math.floor(i / 32) * 131) % 900) + (i % 32) + shift],
  );

for (let n = 0; n < steps; n++) {
  const tokens = backend.tensor(rows(n, 0), [batch, 32]);
  const targets = backend.tensor(rows(n, 1), [batch, 32]);
  const { value, grads } = valueAndGrad(backend, (ops, p) => model.loss(ops, p, { tokens, targets }))(params);
  optimizer.step(grads, rate(n + 1)).gradNormSquared.dispose();
  if (n % 10 === 9) console.log(`step ${n + 1}: ${(await value.data())[0].toFixed(4)} nats per byte`);
  for (const tensor of [tokens, targets, value, ...Object.values(grads)]) tensor.dispose();
}

const folder = await mkdtemp(join(tmpdir(), 'lazy-attention-example-'));
const path = await saveCheckpoint(folder, { model, params, optimizer, step: steps });
const loaded = await loadCheckpoint(backend, path);
console.log(`saved and read again: ${Object.keys(loaded.params).length} tensors, step ${loaded.step}`);
await rm(folder, { recursive: true });
await backend.dispose();
