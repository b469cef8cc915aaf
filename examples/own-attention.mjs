// An attention of one's own in a model: defined, trained on a line of text, and asked to go on with it.
import { createBackend } from '@lazy-attention/core';
import { adamW, defineAttention, generate, lazyTransformer, preset, valueAndGrad } from '@lazy-attention/nn';
import softpick from './attention/softpick.mjs';

const kind = defineAttention(softpick);
const backend = await createBackend('auto');
const model = lazyTransformer(preset('pico', { attention: kind.name, context: 32 }));
const params = model.init(backend, 1);
const optimizer = adamW(backend, params);

const text = new TextEncoder().encode('a sink drinks what nobody thinks ');
const tokens = backend.tensor(Int32Array.from(text.subarray(0, 32)), [1, 32]);
const targets = backend.tensor(Int32Array.from(text.subarray(1, 33)), [1, 32]);
const step = valueAndGrad(backend, (ops, p) => model.loss(ops, p, { tokens, targets }));
for (let n = 0; n < 30; n++) {
  const { value, grads } = step(params);
  optimizer.step(grads, 3e-3).gradNormSquared.dispose();
  if (n % 10 === 9) console.log(`step ${n + 1}: ${(await value.data())[0].toFixed(4)} nats`);
  for (const tensor of [value, ...Object.values(grads)]) tensor.dispose();
}

const prompt = Array.from(text.subarray(0, 6));
const written = [];
for await (const [token] of generate(backend, model, params, [prompt], { maxNewTokens: 16, temperature: 0 })) {
  written.push(token);
}
console.log(new TextDecoder().decode(Uint8Array.from([...prompt, ...written])));
await backend.dispose();
