// Lazy Attention as an op: weights that are exactly zero, and the gradient of everything that is learnt.
import { createBackend } from '@lazy-attention/core';

const backend = await createBackend('auto');
const [B, L, H, D] = [1, 32, 4, 16];
const random = (shape) => {
  const size = shape.reduce((product, n) => product * n, 1);
  return backend.tensor(
    Float32Array.from({ length: size }, () => Math.random() - 0.5),
    shape,
  );
};
const [q, k, v] = [random([B, L, H, D]), random([B, L, H, D]), random([B, L, H, D])];
const bias = backend.zeros([H, 16]); // by head and distance
const tau = backend.full([H], -1); // the offset of Elastic-Softmax

const weights = await backend.attentionWeights(q, k, { bias, tau }).data();
const zeros = weights.filter((w) => w === 0).length - (B * H * L * (L - 1)) / 2; // the future is zero anyway
console.log(`${backend.name}: ${zeros} of ${(B * H * L * (L + 1)) / 2} weights are exactly zero`);

const { output, saved } = backend.attention(q, k, v, { bias, tau });
const { dq, dbias, dtau } = backend.attentionGrad(output, saved); // of sum(output^2) / 2
console.log('dq', dq.shape, 'dbias', dbias.shape, 'dtau', await dtau.data());
await backend.dispose();
