import { join } from 'node:path';
import { provider } from '@lazy-attention/backend-cuda';
import { expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { start, temporary } from './helpers.ts';

/** On a GPU where one is chosen; else its kernels on the host, about a minute for these steps. */
const DEVICE = { LAZY_ATTENTION_CUDA_DEVICE: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' };

const PICO = [
  ...['--preset', 'pico', '--batch', '1', '--steps', '50', '--lr', '0.003', '--warmup', '5'],
  ...['--eval-windows', '1', '--final-eval-windows', '1', '--sample-tokens', '1'],
];

it('train --backend cuda has the losses of the reference over 50 steps of pico', {
  timeout: 400_000,
}, async (context) => {
  process.env.LAZY_ATTENTION_CUDA_DEVICE = DEVICE.LAZY_ATTENTION_CUDA_DEVICE;
  const { available, reason } = await provider.probe();
  if (!available) context.skip(`cuda: ${reason}`);
  const root = temporary();
  const losses = async (backend: string) => {
    const out = join(root, backend);
    const { code, stderr } = await start(['train', ...PICO, '--backend', backend, '--out', out], DEVICE).done;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { metrics } = readMetrics(join(out, 'metrics.jsonl'));
    return metrics.flatMap((metric) => (metric.type === 'train' ? [metric.loss] : []));
  };
  const [expected, actual] = await Promise.all([losses('reference'), losses('cuda')]);
  expect(actual).toHaveLength(50);
  expect(expected[49]).toBeLessThan(expected[0] - 1);
  for (const [i, loss] of actual.entries()) {
    expect(Math.abs(loss / expected[i] - 1), `step ${i + 1}: ${loss}, ${expected[i]}`).toBeLessThan(1e-3);
  }
});
