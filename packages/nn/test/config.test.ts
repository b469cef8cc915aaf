import { describe, expect, it } from 'vitest';
import { ConfigError, flopsPerToken, lazyTransformer, PRESETS, parameterCount, preset } from '../src/index.ts';

const make = (change: object) => () =>
  lazyTransformer({ ...preset('nano'), ...change } as Parameters<typeof lazyTransformer>[0]);

describe('config', () => {
  it('fills in defaults', () => {
    expect(
      lazyTransformer({ vocabSize: 256, hiddenSize: 1024, numLayers: 2, numHeads: 16, context: 2048 }).config,
    ).toEqual({
      vocabSize: 256,
      hiddenSize: 1024,
      numLayers: 2,
      numHeads: 16,
      numKvHeads: 16,
      headDim: 64,
      context: 2048,
      intermediateSize: 2816,
      attention: 'lazy',
      window: 512,
      tieEmbeddings: false,
      ropeBase: 10000,
      ropeScaling: null,
      attentionBias: null,
      mlpBias: false,
      qkNorm: false,
      slidingWindow: null,
      noRopeLayers: [],
      fullAttentionLayers: [],
      normEpsilon: 1e-6,
      initStd: 0.02,
      computeDType: null,
    });
  });

  it.each([
    { hidden: 3 },
    { vocabSize: 0 },
    { numLayers: 1.5 },
    { context: '64' },
    { hiddenSize: Number.NaN },
    { numHeads: 3 },
    { numHeads: 64 },
    { headDim: 260 },
    { numKvHeads: 3 },
    { attention: 'linear' },
    { window: -1 },
    { ropeBase: 0 },
    { tieEmbeddings: 'no' },
    { computeDType: 'f32' },
    { initStd: -1 },
  ])('refuses %o', (change) => {
    expect(make(change)).toThrow(ConfigError);
    expect(make(change)).toThrowErrorMatchingSnapshot();
  });

  it.each([
    [{ hiddenSize: 100, numHeads: 3 }, 'hiddenSize', '<hiddenSize> (100) must be a multiple of <numHeads> (3)'],
    [{ numHeads: 64 }, 'hiddenSize', '<hiddenSize> / <numHeads> is 2; expected a multiple of 4, at most 256'],
    [{ headDim: 6 }, 'headDim', '<headDim> is 6; expected a multiple of 4, at most 256'],
    [{ window: 0 }, 'window', '<window> is 0; expected a positive integer'],
    [
      { ropeScaling: { type: 'linear', factor: 0 } },
      'ropeScaling.factor',
      '<ropeScaling.factor> is 0; expected a positive number',
    ],
  ])('an error knows the keys that it names: %o', (change, key, fault) => {
    try {
      make(change)();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      expect([error.key, error.fault((name) => `<${name}>`)]).toEqual([key, fault]);
      return;
    }
    expect.unreachable();
  });

  it('refuses unknown presets', () => {
    expect(() => preset('huge')).toThrowErrorMatchingInlineSnapshot(
      `[ConfigError: preset: unknown preset 'huge'; expected one of one-head, pico, nano, micro, small, 340m, 760m, 1.3b]`,
    );
  });
});

describe('size', () => {
  it('counts parameters and useful operations', () => {
    const table = PRESETS.map((name) => [name, parameterCount(preset(name)), flopsPerToken(preset(name)) / 1e6]);
    expect(table).toMatchInlineSnapshot(`
      [
        [
          "one-head",
          50177,
          0.226176,
        ],
        [
          "pico",
          139844,
          0.7872,
        ],
        [
          "nano",
          922768,
          6.09792,
        ],
        [
          "micro",
          4963608,
          34.0224,
        ],
        [
          "small",
          27566656,
          189.554688,
        ],
        [
          "340m",
          374064512,
          2650.423296,
        ],
        [
          "760m",
          778053504,
          5277.966336,
        ],
        [
          "1.3b",
          1364691712,
          9000.22272,
        ],
      ]
    `);
  });

  it('counts what the shapes hold, for every kind of attention', () => {
    const count = (attention: 'lazy' | 'softmax') => parameterCount(preset('pico', { attention }));
    expect(count('lazy') - count('softmax')).toBe(2 * (2 * 64 + 2));
    expect(parameterCount(preset('pico', { tieEmbeddings: true }))).toBe(count('lazy') - 256 * 64);
  });

  it('names parameters as flash-linear-attention does', () => {
    expect(lazyTransformer(preset('pico', { numLayers: 1 })).shapes).toMatchInlineSnapshot(`
      {
        "lm_head.weight": [
          256,
          64,
        ],
        "model.embeddings.weight": [
          256,
          64,
        ],
        "model.layers.0.attn.bias": [
          2,
          64,
        ],
        "model.layers.0.attn.k_proj.weight": [
          64,
          64,
        ],
        "model.layers.0.attn.o_proj.weight": [
          64,
          64,
        ],
        "model.layers.0.attn.q_proj.weight": [
          64,
          64,
        ],
        "model.layers.0.attn.tau": [
          2,
        ],
        "model.layers.0.attn.v_proj.weight": [
          64,
          64,
        ],
        "model.layers.0.attn_norm.weight": [
          64,
        ],
        "model.layers.0.mlp.down_proj.weight": [
          64,
          192,
        ],
        "model.layers.0.mlp.gate_proj.weight": [
          192,
          64,
        ],
        "model.layers.0.mlp.up_proj.weight": [
          192,
          64,
        ],
        "model.layers.0.mlp_norm.weight": [
          64,
        ],
        "model.norm.weight": [
          64,
        ],
      }
    `);
  });
});
