import { readFileSync } from 'node:fs';
import { lazyTransformer, preset } from '@lazy-attention/nn';
import { expect, test } from 'vitest';
import { createAttentionMeter, observe } from '../src/index.ts';
import { useBackend } from './helpers.ts';

const backendOf = useBackend();

test('a LazyTransformer is observed layer by layer and computes the same', async () => {
  const backend = backendOf();
  const config = preset('pico', { context: 16, hiddenSize: 32, numLayers: 2, numHeads: 2 });
  for (const attention of ['lazy', 'softmax', 'alibi', 'gated', 'entmax', 'forgetting']) {
    const alive = backend.memory().tensors;
    const model = lazyTransformer({ ...config, attention });
    const params = model.init(backend, 1);
    const tokens = backend.tensor(
      Int32Array.from({ length: 32 }, (_, n) => (n * 37) % 256),
      [2, 16],
    );
    const meter = createAttentionMeter(backend, { maps: { length: 16 } });
    const plain = model.forward(backend, params, tokens);
    const observed = model.forward(observe(backend, meter), params, tokens);
    expect(await observed.data()).toEqual(await plain.data());
    await meter.flush();
    const { overall, layers, hidden, maps, sequences } = meter.summary();
    expect(layers.map((layer) => layer.heads.length)).toEqual([2, 2]);
    expect(hidden.map(({ index, layer }) => [index, layer])).toEqual([
      [0, 0],
      [1, 1],
      [2, 1],
      [3, 2],
      [4, 2],
    ]);
    expect(new Set(hidden.map(({ kurtosis }) => kurtosis)).size).toBe(5);
    expect(maps).toHaveLength(4);
    expect(sequences).toBe(2);
    if (attention === 'lazy') {
      expect(layers[0].heads[0].tau).toBe(-1);
      // Row 0 attends itself alone: p = 1, w = 1 - 1 = 0.
      expect(maps[0].weights[0]).toEqual([0]);
    } else {
      expect(overall.rowMass).toBeCloseTo(1, 5);
    }
    for (const x of [plain, observed, tokens, ...Object.values(params)]) x.dispose();
    expect(backend.memory().tensors).toBe(alive);
  }
});

test('the README runs as printed', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const code = /<!-- test: measure -->\n```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  expect(code).toBeDefined();
  const lines: unknown[][] = [];
  const log = console.log;
  console.log = (...values: unknown[]) => lines.push(values);
  try {
    await run((code as string).replace("createBackend('auto')", "createBackend('reference')"));
  } finally {
    console.log = log;
  }
  expect(lines[0]).toHaveLength(3);
  expect(lines.flat().every((value) => typeof value === 'number' && value >= 0 && value <= 1)).toBe(true);
});

/** Runs a program with its imports taken from this workspace. */
async function run(code: string): Promise<void> {
  const modules = {
    '@lazy-attention/analysis': await import('../src/index.ts'),
    '@lazy-attention/core': await import('@lazy-attention/core'),
    '@lazy-attention/nn': await import('@lazy-attention/nn'),
  };
  const body = code.replace(/import (\{[^}]*\}) from '([^']+)';/g, "const $1 = modules['$2'];");
  const AsyncFunction = Object.getPrototypeOf(run).constructor as new (
    ...args: string[]
  ) => (m: object) => Promise<void>;
  await new AsyncFunction('modules', body)(modules);
}
