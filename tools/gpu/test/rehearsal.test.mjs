import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget } from '@lazy-attention/native/build';
import { afterAll, expect, test } from 'vitest';
import { STEPS } from '../plan.mjs';
import { summarise } from '../report.mjs';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const emulated = join(here, '../../packages/backend-cuda/build', `${hostTarget()}-emulated`, 'lazy_cuda_emulated.node');
const folder = mkdtempSync(join(tmpdir(), 'lazy-kit-'));
afterAll(() => rmSync(folder, { recursive: true }));

// What needs the tools of the other machine.
const elsewhere = STEPS.filter(({ name, tool, peers }) => tool || peers || ['source build', 'webgpu'].includes(name));

function rehearse(file, ...options) {
  const path = join(folder, file);
  try {
    execFileSync(join(folder, 'kit', 'run.sh'), [path, '--rehearse', ...options], {
      env: { ...process.env, LAZY_ATTENTION_CUDA_EMULATED_ADDON: emulated },
      stdio: 'ignore',
    });
  } catch {
    // A step failed: the file says which.
  }
  return JSON.parse(readFileSync(path, 'utf8')).steps;
}

test('the kit runs every step that needs no GPU', { timeout: 240_000 }, (context) => {
  if (!existsSync(emulated)) context.skip('no C++ compiler built the emulated device');
  execFileSync(process.execPath, [join(here, 'pack.mjs'), join(folder, 'kit')]);
  const steps = rehearse('all.json', '--skip', elsewhere.map(({ name }) => name).join());
  const failed = Object.entries(steps).filter(([, { ok }]) => !ok);
  expect(failed).toEqual([]);
  expect(Object.keys(steps)).toHaveLength(STEPS.length - elsewhere.length);
  expect(steps['train 340m'].tflops).toBeGreaterThan(0);
  expect(steps.pico.largestRelativeDifference).toBeLessThan(1e-3);

  const late = rehearse('late.json', '--only', 'machine,products', '--budget', '1');
  expect(late.products).toMatchObject({ ok: false, error: 'no time left' });
});

test('the summary has the ratios of what was measured, and nothing for what was not', () => {
  const times = (forward, forwardBackward) => ({
    forward: { medianMs: forward },
    forwardBackward: { medianMs: forwardBackward },
  });
  const summary = summarise({
    'attention 64': { lazy: times(3, 9), softmax: times(2, 6) },
    'peers 64': { sdpaFlash: times(2, 6), authors: { error: 'none' }, product8192: { tflops: 800 } },
    'train 340m': { tflops: 320 },
  });
  expect(summary['64 forward']).toEqual({ lazyOverFlash: 1.5, lazyOverOwnSoftmax: 1.5 });
  expect(summary['64 forwardBackward'].lazyOverFlash).toBe(1.5);
  expect(summary['128 forward']).toEqual({});
  expect(summary.trainingShareOfProductPeak).toBe(0.4);
});
