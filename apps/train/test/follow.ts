import { join } from 'node:path';
import { expect } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { start } from './helpers.ts';

const PICO = [
  ...['--preset', 'pico', '--batch', '1', '--steps', '50', '--lr', '0.003', '--warmup', '5'],
  ...['--eval-windows', '1', '--final-eval-windows', '1', '--sample-tokens', '1'],
];

/** Lines of standard error that are no complaint of ours: Dawn's, when it opens llvmpipe, which cannot be turned off. */
const NOISE = /^Warning: maxDynamic\w+ artificially reduced .*\n/gm;

export function complaints(stderr: string): string {
  return stderr.replace(NOISE, '');
}

/** Trains pico for 50 steps on a backend and on the reference, in folders of `root` called after them. */
export async function expectLossesOfTheReference(
  backend: string,
  root: string,
  environment: Record<string, string> = {},
): Promise<void> {
  const losses = async (name: string) => {
    const out = join(root, name);
    const { code, stderr } = await start(['train', ...PICO, '--backend', name, '--out', out], environment).done;
    expect({ code, stderr: complaints(stderr) }).toEqual({ code: 0, stderr: '' });
    const { metrics } = readMetrics(join(out, 'metrics.jsonl'));
    return metrics.flatMap((metric) => (metric.type === 'train' ? [metric.loss] : []));
  };
  const [expected, actual] = await Promise.all([losses('reference'), losses(backend)]);
  expect(actual).toHaveLength(50);
  expect(expected[49]).toBeLessThan(expected[0] - 1);
  for (const [i, loss] of actual.entries()) {
    expect(Math.abs(loss / expected[i] - 1), `step ${i + 1}: ${loss}, ${expected[i]}`).toBeLessThan(1e-3);
  }
}
