import type { Backend } from '@lazy-attention/core';
import { type AttentionKind, lazyTransformer, parameterCount, preset } from '@lazy-attention/nn';
import { createAttentionMeter, observe } from '../src/index.ts';
import type { ReportData, ReportRun } from '../src/report/data.ts';
import { noise } from './helpers.ts';

const TEXT = 'Call me Ishmael. Some years ago <never mind> how';
const ARMS: readonly (readonly [AttentionKind, string])[] = [
  ['softmax', 'Softmax'],
  ['alibi', 'ALiBi'],
  ['lazy', 'Lazy'],
  ['bias-only', 'Bias only'],
  ['elastic-only', 'Elastic only'],
];

/** A report on small untrained models with invented losses: real shapes and real attention, in seconds. */
export async function fixtureReport(backend: Backend, seeds: readonly number[]): Promise<ReportData> {
  const runs: ReportRun[] = [];
  for (const [kind, arm] of ARMS) for (const seed of seeds) runs.push(await fixtureRun(backend, kind, arm, seed));
  return {
    title: 'Lazy Attention, measured',
    generatedAt: '2026-01-02T03:04:05.000Z',
    command: 'lazy-attention compare --preset pico --seeds 3',
    environment: [
      ['Backend', 'reference: plain TypeScript, float64'],
      ['Node', '20.19.0, linux x64'],
      ['Data', 'moby-dick, fingerprint 0123abcd'],
    ],
    notes: ['runs/example/metrics.jsonl ends in the middle of a line; that line was left out'],
    runs,
  };
}

async function fixtureRun(backend: Backend, kind: AttentionKind, arm: string, seed: number): Promise<ReportRun> {
  const config = preset('pico', { context: 48, hiddenSize: 64, numLayers: 3, numHeads: 4, initStd: 0.2 });
  const model = lazyTransformer({ ...config, attention: kind });
  const params = { ...model.init(backend, seed) };
  for (const [name, x] of Object.entries(params)) {
    if (!name.endsWith('.attn.bias')) continue;
    params[name] = backend.tensor(
      noise(x.size, seed).map((value, n) => 2 / (1 + (n % 48)) ** 0.5 + 0.2 * value),
      x.shape,
    );
    x.dispose();
  }
  const bytes = new TextEncoder().encode(TEXT);
  const tokens = backend.tensor(Int32Array.from(bytes), [1, bytes.length]);
  const meter = createAttentionMeter(backend, { maps: { length: bytes.length } });
  model.forward(observe(backend, meter), params, tokens).dispose();
  await meter.flush();
  for (const x of [tokens, ...Object.values(params)]) x.dispose();
  const level = 1.6 + 0.05 * ARMS.findIndex(([name]) => name === kind) + 0.01 * seed;
  const at = (step: number) => ({
    step,
    loss: level + 3.8 * Math.exp(-step / 90) + 0.03 * Math.sin(step * 1.7 + seed),
  });
  const loss = at(600).loss;
  return {
    scenario: 'pico, context 48',
    arm,
    kind,
    seed,
    name: `runs/compare/${kind}-seed${seed}`,
    command: `lazy-attention train --preset pico --attention ${kind} --seed ${seed}`,
    parameters: parameterCount(model.config),
    steps: 600,
    stepsDone: 600,
    tokensPerStep: 4096,
    seconds: 63.4,
    training: Array.from({ length: 600 }, (_, n) => at(n + 1)),
    validation: [120, 240, 360, 480, 600].map(at),
    final: { loss, perplexity: Math.exp(loss), bitsPerByte: loss / Math.LN2 },
    attention: meter.summary(),
    mapTokens: [...TEXT],
    sample: `${TEXT} long precisely, having little or no money in my purse </script><b>not bold</b>`,
  };
}
