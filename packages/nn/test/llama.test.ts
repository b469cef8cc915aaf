import type { Backend, Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type AttentionOptionsInput,
  adamW,
  ConfigError,
  createCache,
  disposeParams,
  generate,
  type LazyTransformerOptions,
  lazyAttentionLayer,
  lazyTransformer,
  type Params,
  type RopeScaling,
  valueAndGrad,
} from '../src/index.ts';
import { ropeFrequencies } from '../src/model/rope-scaling.ts';
import { gradientErrors, noise, numbers, reference, relativeError, scalar } from './helpers.ts';
import { naiveLayer } from './naive.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());

const SCALINGS = {
  linear: { type: 'linear', factor: 4 },
  dynamic: { type: 'dynamic', factor: 2, originalContext: 6 },
  llama3: { type: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 64 },
  yarn: { type: 'yarn', factor: 4, originalContext: 64, betaFast: 8, betaSlow: 1 },
} as const satisfies Record<string, RopeScaling>;

const OPTIONS: Record<string, Partial<AttentionOptionsInput>> = {
  'biases of q, k and v': { attentionBias: 'qkv' },
  'biases of q, k, v and o': { attentionBias: 'qkvo' },
  'QK-norm': { qkNorm: true, normEpsilon: 1e-3 },
  'a sliding window': { slidingWindow: 3 },
  'a head size of its own': { headDim: 12 },
  ...Object.fromEntries(
    Object.entries(SCALINGS).map(([type, ropeScaling]) => [`RoPE scaling ${type}`, { ropeScaling }]),
  ),
  'all at once': { attentionBias: 'qkvo', qkNorm: true, slidingWindow: 4, ropeScaling: SCALINGS.yarn },
};

/** Parameters that are noise, biases and norms too. */
const noisy = (shapes: Readonly<Record<string, readonly number[]>>): Params =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, noise(backend, shape, i + 1)]));

describe.each(Object.entries(OPTIONS))('an attention layer with %s', (_, change) => {
  const layer = lazyAttentionLayer({ hiddenSize: 16, numHeads: 4, numKvHeads: 2, attention: 'softmax', ...change });
  const [B, L] = [2, 9];
  const starts = Int32Array.from({ length: B * L }, (_, i) => (i >= L ? 0 : Math.min(i % L, 2)));

  it.each([null, starts])('is the formula in float64, starts %j', async (given) => {
    const params = noisy(layer.shapes);
    const x = noise(backend, [B, L, 16], 50);
    const y = layer.forward(backend, params, x, { starts: given && backend.tensor(given, [B, L]) });
    const arrays = Object.fromEntries(
      await Promise.all(Object.entries(params).map(async ([name, t]) => [name, await numbers(t)])),
    );
    const expected = naiveLayer(layer.config, arrays, await numbers(x), [B, L], { starts: given ?? undefined });
    expect(relativeError(await numbers(y), expected)).toBeLessThan(1e-12);
  });

  it('has the gradient of central differences', async () => {
    const before = backend.memory().tensors;
    const params = noisy(layer.shapes);
    const x = noise(backend, [B, L, 16], 50);
    const weights = noise(backend, [B, L, 16], 51);
    const errors = await gradientErrors(backend, params, (ops, p) =>
      ops.sum(ops.mul(layer.forward(ops, p, x), weights)),
    );
    for (const [name, error] of Object.entries(errors)) expect(error, name).toBeLessThan(1e-6);
    for (const t of [x, weights]) t.dispose();
    disposeParams(params);
    expect(backend.memory().tensors).toBe(before);
  });
});

const TINY: LazyTransformerOptions = {
  vocabSize: 11,
  hiddenSize: 16,
  numLayers: 3,
  numHeads: 4,
  numKvHeads: 2,
  context: 24,
  intermediateSize: 24,
  initStd: 0.3,
};
const MODELS: Record<string, Partial<LazyTransformerOptions>> = {
  ...OPTIONS,
  'biases of the MLP': { mlpBias: true },
  'layers without RoPE': { noRopeLayers: [1] },
  'a sliding window in some layers': { slidingWindow: 3, fullAttentionLayers: [0, 2] },
  'a tied head': { tieEmbeddings: true },
};

describe.each(Object.entries(MODELS))('a model with %s', (_, change) => {
  const model = lazyTransformer({ ...TINY, ...change });
  const tokens = (length: number, first = 0) =>
    backend.tensor(
      Int32Array.from({ length: 2 * length }, (_, i) => ((i % length) + first + 4 * Math.floor(i / length)) % 11),
      [2, length],
    );

  // Dynamic scaling turns earlier keys by what it was then, as in transformers, so that decoding is not the full forward.
  it.skipIf(change.ropeScaling?.type === 'dynamic')('decodes with a cache as the full forward', async () => {
    const params = noisy(model.shapes);
    const full = await numbers(model.forward(backend, params, tokens(12)));
    const cache = createCache(backend, model.config, { batch: 2, capacity: 12, dtype: 'f64' });
    const rows: number[][] = [[], []];
    for (const [first, count] of [5, 1, 1, 3, 1, 1].map((n, i, all) => [
      all.slice(0, i).reduce((a, b) => a + b, 0),
      n,
    ])) {
      const logits = await numbers(model.forward(backend, params, tokens(count, first), { cache }));
      for (const row of [0, 1]) rows[row].push(...logits.slice(row * count * 11, (row + 1) * count * 11));
    }
    expect(relativeError(rows.flat(), full)).toBeLessThan(1e-10);
  });

  it.skipIf(change.ropeScaling?.type === 'dynamic')('generates what the full forward would, fused or not', async () => {
    const params = noisy(model.shapes);
    const prompt = [3, 1, 4, 1];
    const found: number[] = [];
    for await (const [token] of generate(backend, model, params, [prompt], { maxNewTokens: 8, temperature: 0 })) {
      found.push(token);
    }
    const expected: number[] = [];
    for (let n = 0; n < 8; n++) {
      const ids = backend.tensor(Int32Array.from([...prompt, ...expected]), [1, prompt.length + n]);
      const logits = await numbers(model.forward(backend, params, ids, { positions: 'last' }));
      expected.push(logits.indexOf(Math.max(...logits)));
    }
    expect(found).toEqual(expected);
  });

  it('learns, from parameters of its own', async () => {
    const params = model.init(backend, 1);
    const optimizer = adamW(backend, params);
    const batch = { tokens: tokens(16), targets: tokens(16, 1) };
    const step = valueAndGrad(backend, (ops, p: Params) => model.loss(ops, p, batch));
    const losses: number[] = [];
    for (let n = 0; n < 12; n++) {
      const { value, grads } = step(params);
      losses.push(await scalar(value));
      optimizer.step(grads, 0.02).gradNormSquared.dispose();
      for (const t of [value, ...Object.values(grads)] as Tensor[]) t.dispose();
    }
    expect(losses[11]).toBeLessThan(0.7 * losses[0]);
  });
});

describe('frequencies', () => {
  // Made by Hugging Face's formulas in Python, in double precision.
  const cases: [string, Parameters<typeof ropeFrequencies>[0], number, number[], number][] = [
    [
      'llama3',
      { headDim: 16, ropeBase: 10000, ropeScaling: { ...SCALINGS.llama3, originalContext: 256 } },
      0,
      [
        1, 0.31622776601683794, 0.1, 0.0066131063172475526, 0.00125, 0.00039528470752104737, 0.000125,
        3.952847075210474e-5,
      ],
      1,
    ],
    [
      'dynamic',
      { headDim: 8, ropeBase: 10000, ropeScaling: { type: 'dynamic', factor: 2, originalContext: 64 } },
      100,
      [1, 0.07778222374656406, 0.006050074330960554, 0.00047058823529411766],
      1,
    ],
    [
      'dynamic, within the original context',
      { headDim: 8, ropeBase: 10000, ropeScaling: { type: 'dynamic', factor: 2, originalContext: 64 } },
      64,
      [1, 0.1, 0.01, 0.001],
      1,
    ],
    [
      'yarn',
      { headDim: 16, ropeBase: 10000, ropeScaling: { type: 'yarn', factor: 4, originalContext: 512 } },
      0,
      [
        1, 0.2569350598886808, 0.0625, 0.01383496476323666, 0.0025, 0.0007905694150420947, 0.00025,
        7.905694150420948e-5,
      ],
      1.138629436111989,
    ],
    [
      'yarn, not truncated',
      {
        headDim: 16,
        ropeBase: 10000,
        ropeScaling: { type: 'yarn', factor: 4, originalContext: 512, betaFast: 8, betaSlow: 2, truncate: false },
      },
      0,
      [1, 0.31622776601683794, 0.1, 0.012241315901815122, 0.0025, 0.0007905694150420947, 0.00025, 7.905694150420948e-5],
      1.138629436111989,
    ],
  ];
  it.each(cases)('%s', (_, config, keyLength, expected, factor) => {
    const found = ropeFrequencies(config, keyLength);
    expect(relativeError(found.perPosition, expected)).toBeLessThan(1e-14);
    expect(found.factor).toBeCloseTo(factor, 14);
  });
});

describe('config', () => {
  it.each([
    { ropeScaling: { type: 'longrope', factor: 2 } },
    { ropeScaling: { type: 'linear' } },
    { ropeScaling: { type: 'linear', factor: 2, originalContext: 8 } },
    { ropeScaling: { type: 'yarn', factor: 2 } },
    { attentionBias: 'q' },
    { qkNorm: 1 },
    { slidingWindow: 0 },
    { noRopeLayers: [3] },
    { fullAttentionLayers: 'all' },
  ])('refuses %j', (change) => {
    const make = () => lazyTransformer({ ...TINY, ...change } as unknown as LazyTransformerOptions);
    expect(make).toThrow(ConfigError);
    expect(make).toThrowErrorMatchingSnapshot();
  });
});
