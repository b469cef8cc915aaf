import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { byteTokenizer } from '@lazy-attention/data';
import { lazyTransformer, preset } from '@lazy-attention/nn';
import { createRun, openCompare, openRun, readMetrics } from 'lazy-attention';
import { fileTarget } from './file.ts';
import type { Target } from './target.ts';

const METRICS = [
  { type: 'train', step: 1, loss: 5.5, learningRate: 1e-3, gradNorm: 1, tokensPerSecond: 1000, seconds: 1 },
  { type: 'eval', step: 2, on: 'validation', loss: 5, perplexity: 148, bitsPerByte: 7, sparsity: 0.5, sinkRate: 0 },
];

function record(): Parameters<typeof createRun>[1] {
  return {
    version: 1,
    createdAt: '2026-01-01T00:00:00.000Z',
    command: 'lazy-attention train moby-dick',
    preset: 'pico',
    model: lazyTransformer(preset('pico')).config,
    data: {
      source: 'moby-dick',
      options: {},
      tokenizer: byteTokenizer().toJSON(),
      fingerprint: 'f'.repeat(64),
      validation: 0.1,
    },
    training: {
      steps: 10,
      batch: 2,
      learningRate: 1e-3,
      warmupSteps: 1,
      floor: 0.1,
      weightDecay: 0.1,
      maxNorm: 1,
      seed: 0,
    },
    rhythm: { evalEvery: 5, evalWindows: 2, finalEvalWindows: 2, checkpointEvery: 5, keep: 2 },
    sample: { prompt: 'It', tokens: 5 },
    environment: { backend: 'reference', device: 'this machine', node: 'v20', platform: 'linux' },
  } as unknown as Parameters<typeof createRun>[1];
}

/** Readers of a run folder's own files. */
export const RUN_TARGETS: readonly Target[] = [
  fileTarget({
    name: 'run',
    extension: '/run.json',
    json: true,
    valid: async (folder) => {
      const path = join(folder, 'made');
      const made = createRun(path, record());
      const bytes = new Uint8Array(readFileSync(made.record));
      rmSync(path, { recursive: true });
      createRun(join(folder, 'input'), record());
      return [bytes];
    },
    read: async (path) => openRun(dirname(path)),
  }),
  fileTarget({
    name: 'compare',
    extension: '/compare.json',
    json: true,
    valid: async (folder) => {
      mkdirSync(join(folder, 'input'), { recursive: true });
      const plan = { version: 1, record: record(), attentions: ['lazy', 'softmax'], seeds: [0, 1] };
      return [new TextEncoder().encode(JSON.stringify(plan))];
    },
    read: async (path) => openCompare(dirname(path)),
  }),
  fileTarget({
    name: 'metrics',
    extension: '.jsonl',
    json: true,
    valid: async () => METRICS.map((metric) => new TextEncoder().encode(`${JSON.stringify(metric)}\n`)),
    read: async (path) => readMetrics(path),
  }),
];
