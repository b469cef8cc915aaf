// RUNTIME train-here.mjs              probes every backend
// RUNTIME train-here.mjs BACKEND      trains 20 steps on it
// The last line of the output is JSON. What runs here is the same file in Node, Deno and Bun.
import { createBackend, probeBackends } from '@lazy-attention/core';
import { adamW, batchTensors, disposeParams, lazyTransformer, preset, valueAndGrad } from '@lazy-attention/nn';

const STEPS = 20;
const LENGTH = 32;

/** The loss of the last of 20 steps, in nats per token: one layer, one sentence again and again. */
async function train(name) {
  const backend = await createBackend(name);
  const model = lazyTransformer(preset('pico', { context: LENGTH, hiddenSize: 32, numLayers: 1 }));
  const params = model.init(backend, 1);
  const optimizer = adamW(backend, params);
  const lossAndGrads = valueAndGrad(backend, model.loss);
  const text = new TextEncoder().encode('call me ishmael. '.repeat(4));
  let loss = Number.NaN;
  for (let step = 0; step < STEPS; step++) {
    const at = step % 17;
    const batch = batchTensors(backend, {
      tokens: Int32Array.from(text.slice(at, at + LENGTH)),
      targets: Int32Array.from(text.slice(at + 1, at + LENGTH + 1)),
      starts: null,
      batch: 1,
      length: LENGTH,
    });
    const { value, grads } = lossAndGrads(params, batch);
    const { gradNormSquared } = optimizer.step(grads, 1e-2);
    loss = (await value.data())[0];
    for (const tensor of [value, gradNormSquared, ...Object.values(batch)]) tensor?.dispose();
    disposeParams(grads);
  }
  await backend.dispose();
  return loss;
}

/** Runtimes word a failed import differently; core must know a package that is missing from one that is broken. */
async function checkMissing() {
  const said = await createBackend('lazy-attention-nothing').catch(({ message }) => message);
  if (!/no installed npm package/.test(said)) throw new Error(`a package that is missing gives: ${said}`);
}

const name = process.argv[2];
if (name === undefined) await checkMissing();
console.log(JSON.stringify(name === undefined ? await probeBackends() : { loss: await train(name) }));
process.exit(0); // a driver may keep threads of its own alive
