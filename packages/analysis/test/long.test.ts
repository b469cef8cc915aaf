import { expect, test } from 'vitest';
import { createAttentionMeter } from '../src/index.ts';
import { noise, useBackend } from './helpers.ts';

const backendOf = useBackend();

test('16,384 tokens are measured in under 500 MB', async () => {
  const backend = backendOf();
  const length = 16_384;
  const q = backend.tensor(noise(length * 4, 1), [1, length, 1, 4]);
  const tau = backend.full([1], -1);
  const meter = createAttentionMeter(backend);
  // Told directly: the attention itself is not what this test is about, and slow in float64.
  meter.onAttention(0, { q, k: q, v: q, options: { tau } });
  try {
    await meter.flush();
  } finally {
    for (const x of [q, tau]) x.dispose();
  }
  const peak = process.resourceUsage().maxRSS * 1024; // of this process, which runs this file alone
  const { overall, tokens } = meter.summary();
  expect(tokens).toBe(length);
  expect(overall.sparsity).toBeGreaterThan(0.3);
  console.info(`peak ${Math.round(peak / 1e6)} MB`);
  expect(peak).toBeLessThan(500e6); // 1.07 GB would be one such matrix in f32
}, 60_000);
