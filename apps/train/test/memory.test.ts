import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Backend, createBackend, type Ops } from '@lazy-attention/core';
import {
  adamW,
  batchTensors,
  disposeParams,
  type LazyTransformerOptions,
  lazyTransformer,
  type MemoryPlanOptions,
  memoryPlan,
  memoryTraits,
  parameterCount,
  preset,
  valueAndGrad,
} from '@lazy-attention/nn';
import { describe, expect, it, vi } from 'vitest';
import { type RunRecord, readMetrics } from '../src/index.ts';
import { memoryLimit, planMemory, refuseTooLarge } from '../src/training/memory.ts';
import { RHYTHM, run, TINY, temporary } from './helpers.ts';

const losses = (folder: string) =>
  readMetrics(join(folder, 'metrics.jsonl')).metrics.map((metric) => [metric.step, metric.loss]);

it('trains with less memory and the same losses, and goes on so', async () => {
  const root = temporary();
  const [plain, lean] = [join(root, 'plain'), join(root, 'lean')];
  expect((await run('train', ...TINY, '--out', plain)).code).toBe(0);
  const options = ['--recompute', '--loss-rows', '5', '--optimizer-dtype', 'bf16'];
  const { code, stderr } = await run('train', ...TINY, ...options, '--out', lean);
  expect(code, stderr).toBe(0);
  expect(losses(lean)[0][1]).toBeCloseTo(losses(plain)[0][1] as number, 6);
  for (const [i, [, loss]] of losses(lean).entries()) expect(loss).toBeCloseTo(losses(plain)[i][1] as number, 2);
  const { training } = JSON.parse(readFileSync(join(lean, 'run.json'), 'utf8'));
  expect(training).toMatchObject({ recompute: true, lossRows: 5, optimizerDtype: 'bf16' });
  expect((await run('train', '--resume', ...RHYTHM, '--recompute', '--out', lean)).code).toBe(0);
  const other = await run('train', '--resume', ...RHYTHM, '--recompute', '--out', plain);
  expect(other.stderr).toContain('--recompute is true, but the run was started with false');
});

it.each([
  [['--recompute', '--sink-penalty', '1'], '--recompute does not go with --sink-penalty'],
  [['--loss-rows', '8', '--sink-penalty', '1'], '--loss-rows does not go with --sink-penalty'],
])('refuses %s', async (options, message) => {
  const out = join(temporary(), 'run');
  const { code, stderr } = await run('train', ...TINY, ...options, '--out', out);
  expect([code, existsSync(out)]).toEqual([2, false]);
  expect(stderr).toContain(message);
});

it('counts and refuses by the share of a rank', async () => {
  const { config: model } = lazyTransformer(preset('pico', { context: 1024 }));
  const training = (batch: number, microBatch?: number) => ({ batch, microBatch }) as RunRecord['training'];
  const record = (batch: number, microBatch?: number) => ({ model, training: training(batch, microBatch) });
  const traits = { dtypes: new Set(['f32', 'i32'] as const), savedBytes: 8 };
  // What they sum gradients in comes on top.
  const ofRanks = (...args: [number, number?]) => {
    const { sums, peakBytes, ...kinds } = planMemory(record(...args), traits, 4);
    expect(sums).toBeGreaterThan(4 * parameterCount(model));
    return { sums: 0, peakBytes: peakBytes - sums, ...kinds };
  };
  expect(ofRanks(8)).toEqual(planMemory(record(2), traits));
  expect(ofRanks(8, 4)).toEqual(planMemory(record(2), traits));
  expect(ofRanks(8, 1)).toEqual(planMemory(record(2, 1), traits));
  const host = await createBackend('reference');
  const large = record(2 ** 20);
  expect(() => refuseTooLarge(host, large)).toThrow(/1048576 sequences .*--micro-batch/);
  expect(() => refuseTooLarge(host, large, 2 ** 20)).not.toThrow();
  vi.stubEnv('OMPI_COMM_WORLD_LOCAL_SIZE', '2');
  const all = memoryLimit(host) as number;
  vi.unstubAllEnvs();
  expect(memoryLimit(host)).toBe(2 * all);
  await host.dispose();
});

/** The most bytes that were alive in training steps. */
async function measured(
  backend: Backend,
  options: LazyTransformerOptions,
  { batch, recompute, lossRows }: MemoryPlanOptions,
) {
  const model = lazyTransformer(options);
  const { context, vocabSize } = model.config;
  const params = model.init(backend, 0);
  const optimizer = adamW(backend, params);
  const step = valueAndGrad(backend, (ops: Ops, p: typeof params, data: Parameters<typeof model.loss>[2]) =>
    model.loss(ops, p, data, { recompute, lossRows }),
  );
  const ids = Int32Array.from({ length: batch * context }, (_, i) => (i * 7919) % vocabSize);
  for (let n = 0; n < (backend.name === 'cpu' ? 2 : 1); n++) {
    const data = batchTensors(backend, { tokens: ids, targets: ids, starts: null, batch, length: context });
    const { value, grads } = step(params, data);
    optimizer.step(grads, 1e-3).gradNormSquared.dispose();
    disposeParams(grads);
    for (const tensor of [value, data.tokens, data.targets]) tensor.dispose();
  }
  await backend.synchronize();
  return backend.memory().peakBytes;
}

describe.each(['cpu', 'webgpu'])('what the plan counts is what %s has at the peak, within a tenth', (name) => {
  it.each([
    ['pico', 64, { batch: 4 }],
    ['nano', 256, { batch: 1 }],
    ['micro', 64, { batch: 2, recompute: true, lossRows: 64 }],
  ] as const)('%s, %i tokens, %o', async (size, context, options) => {
    const model = preset(size, { context });
    const backend = await createBackend(name);
    try {
      const plan = memoryPlan(model, options, memoryTraits(backend));
      const { peakBytes, ...kinds } = plan;
      expect(Object.values(kinds).reduce((sum, bytes) => sum + bytes)).toBe(peakBytes);
      const found = await measured(backend, model, options);
      expect(found / peakBytes).toBeGreaterThan(0.9);
      expect(found / peakBytes).toBeLessThan(1.1);
    } finally {
      await backend.dispose();
    }
  });
});

it('small at context 1024 takes at most 40 % at the peak when layers are recomputed', () => {
  const traits = { dtypes: new Set(['f32', 'i32'] as const), savedBytes: 8 };
  const bytes = (options: Partial<MemoryPlanOptions>) =>
    memoryPlan(preset('small'), { batch: 16, ...options }, traits).peakBytes;
  expect(bytes({ recompute: true })).toBeLessThan(0.4 * bytes({}));
});
