// In a browser nothing is found by package name: providers are registered by hand, and the page's import map names the files.
import { provider as reference } from '@lazy-attention/backend-reference';
import { createBackend, registerBackend } from '@lazy-attention/core';
import { adamW, lazyTransformer, preset, valueAndGrad } from '@lazy-attention/nn';

const say = (line) => document.querySelector('#log').append(`${line}\n`);

registerBackend(reference);
let name = new URLSearchParams(location.search).get('backend') ?? 'webgpu';
if (name === 'webgpu') {
  const { provider } = await import('@lazy-attention/backend-webgpu');
  registerBackend(provider);
  const { available, reason } = await provider.probe();
  if (!available) {
    say(`No WebGPU here (${reason}); plain JavaScript instead.`);
    name = 'reference';
  }
}

const backend = await createBackend(name);
const model = lazyTransformer(preset('pico', { context: 32 }));
const params = model.init(backend, 1);
const optimizer = adamW(backend, params);
const text = new TextEncoder().encode('a sink drinks what nobody thinks ');
const tokens = backend.tensor(Int32Array.from(text.subarray(0, 32)), [1, 32]);
const targets = backend.tensor(Int32Array.from(text.subarray(1, 33)), [1, 32]);
for (let step = 1; step <= 20; step++) {
  const { value, grads } = valueAndGrad(backend, (ops, p) => model.loss(ops, p, { tokens, targets }))(params);
  optimizer.step(grads, 3e-3).gradNormSquared.dispose();
  if (step % 5 === 0) say(`${backend.name}, step ${step}: ${(await value.data())[0].toFixed(4)} nats per byte`);
  for (const tensor of [value, ...Object.values(grads)]) tensor.dispose();
}
say('Done.');
await backend.dispose();
