// An attention layer with a cache: a prompt of 16 tokens, then 4 more, one by one.
import { createBackend } from '@lazy-attention/core';
import { createCache, lazyAttentionLayer } from '@lazy-attention/nn';

const backend = await createBackend('auto');
const layer = lazyAttentionLayer({ hiddenSize: 64, numHeads: 4, numKvHeads: 2, window: 32 });
const params = layer.init(backend, 1);
const tokens = (count) =>
  backend.tensor(
    Float32Array.from({ length: count * 64 }, (_, i) => Math.sin(i)),
    [1, count, 64],
  );

const cache = createCache(backend, layer.config, { batch: 1, capacity: 20 });
console.log('prompt', layer.forward(backend, params, tokens(16), { cache }).shape);
while (cache.length < cache.capacity) {
  const y = layer.forward(backend, params, tokens(1), { cache });
  console.log('token', cache.length, y.shape);
}
await backend.dispose();
