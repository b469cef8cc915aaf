import { createBackend, registerBackend, ValueError } from '@lazy-attention/core';
import { expect, test } from 'vitest';
import { provider } from '../src/index.ts';

registerBackend(provider);

test('works everywhere', async () => {
  expect(await provider.probe()).toMatchObject({ available: true, device: expect.stringContaining('float64') });
});

test('refuses options', async () => {
  await expect(createBackend('reference', { threads: 2 })).rejects.toThrow(ValueError);
  await expect(createBackend('reference', { threads: 2 })).rejects.toThrow("reference: unknown option 'threads'");
});

test('NaN and infinity come through', async () => {
  const backend = await createBackend('reference');
  const x = backend.tensor([Number.NaN, 1, 1, 1], [1, 1, 1, 4]);
  const { output } = backend.attention(x, x, x, { tau: backend.full([1], -0.5) });
  expect((await output.data()).every(Number.isNaN)).toBe(true);
  expect(await backend.cast(backend.full([1], 1e6), 'f16').data()).toEqual(Float32Array.of(Number.POSITIVE_INFINITY));
  await backend.dispose();
});
