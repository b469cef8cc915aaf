// Saves checkpoints without end, each of other values, until it is killed; reports each. Its test looks at what is left.
import { createBackend } from '@lazy-attention/core';
import { adamW, lazyTransformer, preset } from '@lazy-attention/nn';
import { saveCheckpoint } from '@lazy-attention/nn/node';

const [folder, first] = [process.argv[2], Number(process.argv[3])];
const backend = await createBackend('reference');
const model = lazyTransformer(preset('pico', { numLayers: 1, hiddenSize: 16 }));
for (let step = first; ; step++) {
  const params = model.init(backend, step);
  const optimizer = adamW(backend, params);
  await saveCheckpoint(folder, { model, params, optimizer, step, state: { seed: step } });
  process.send(step);
}
