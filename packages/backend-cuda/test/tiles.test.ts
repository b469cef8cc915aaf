import { Backend } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { provider } from '../src/index.ts';
import { tileCases } from './tile-cases.mjs';

describe('at the borders of the tiles', { timeout: 60_000 }, () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = new Backend(await provider.create({ device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' }));
  });
  afterAll(async () => {
    await backend.dispose();
  });

  for (const { name, run } of tileCases) test(name, () => run(backend));
});
