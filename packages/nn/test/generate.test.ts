import type { Backend } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ATTENTION_KINDS,
  castParams,
  createCache,
  type GenerateOptions,
  generate,
  type LazyTransformerOptions,
  lazyAttentionLayer,
  lazyTransformer,
  valueAndGrad,
} from '../src/index.ts';
import { noise, numbers, reference, relativeError } from './helpers.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());

const TINY: LazyTransformerOptions = {
  vocabSize: 11,
  hiddenSize: 16,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  context: 80,
  window: 24,
  intermediateSize: 24,
  initStd: 0.5,
};

async function collect(
  options: GenerateOptions,
  prompts: number[][],
  model = lazyTransformer(TINY),
  seed = 1,
): Promise<number[][]> {
  const params = model.init(backend, seed);
  const rows: number[][] = prompts.map(() => []);
  for await (const next of generate(backend, model, params, prompts, options)) {
    for (const [row, token] of next.entries()) rows[row].push(token);
  }
  return rows;
}

describe('decoding with a cache', () => {
  it.each(ATTENTION_KINDS)('%s: 64 tokens of a left-padded batch equal the full forward to 1e-6', async (attention) => {
    const model = lazyTransformer({ ...TINY, attention });
    const params = model.init(backend, 1, { dtype: 'f64' });
    const [batch, prefill, steps] = [2, 6, 64];
    const length = prefill + steps;
    const padding = [4, 0];
    const tokens = Int32Array.from({ length: batch * length }, (_, i) => (i * i + 3 * i) % 11);
    const starts = Int32Array.from({ length: batch * length }, (_, i) =>
      Math.min(i % length, padding[Math.floor(i / length)]),
    );
    const cut = (values: Int32Array, first: number, count: number) =>
      backend.tensor(
        Int32Array.from(
          { length: batch * count },
          (_, i) => values[Math.floor(i / count) * length + first + (i % count)],
        ),
        [batch, count],
      );
    const full = await numbers(
      model.forward(backend, params, cut(tokens, 0, length), { starts: cut(starts, 0, length) }),
    );
    const cache = createCache(backend, model.config, { batch, capacity: length, dtype: 'f64' });
    const live = backend.memory().tensors;
    for (let first = 0; first < length; ) {
      const count = first === 0 ? prefill : 1;
      const logits = backend.scope(() =>
        model.forward(backend, params, cut(tokens, first, count), {
          starts: cut(starts, first, count),
          cache,
          positions: 'last',
        }),
      );
      first += count;
      const found = await numbers(logits);
      logits.dispose();
      const expected = Array.from({ length: batch }, (_, b) => {
        const at = (b * length + first - 1) * 11;
        return full.slice(at, at + 11);
      }).flat();
      expect(relativeError(found, expected)).toBeLessThan(1e-6);
    }
    expect(cache.length).toBe(length);
    expect(backend.memory().tensors).toBe(live);
    cache.dispose();
  });

  it('generates greedily what the full forward prefers, for prompts of unequal lengths', async () => {
    const model = lazyTransformer(TINY);
    const params = model.init(backend, 3);
    const prompts = [[1, 2, 3, 4, 5], [7], [9, 8]];
    const generated = await collect({ maxNewTokens: 12, temperature: 0 }, prompts, model, 3);
    for (const [row, prompt] of prompts.entries()) {
      const sequence = [...prompt];
      for (let i = 0; i < 12; i++) {
        const logits = model.forward(backend, params, backend.tensor(Int32Array.from(sequence), [1, sequence.length]));
        const last = (await numbers(logits)).slice(-11);
        sequence.push(last.indexOf(Math.max(...last)));
      }
      expect(generated[row]).toEqual(sequence.slice(prompt.length));
    }
  });

  it('slides over the last `context` positions', async () => {
    const model = lazyTransformer({ ...TINY, context: 8, numLayers: 1 });
    const params = model.init(backend, 3);
    const [tokens] = await collect({ maxNewTokens: 20, temperature: 0 }, [[1, 2, 3]], model, 3);
    // With one layer a row depends on the tokens it attends alone.
    const sequence = [1, 2, 3, ...tokens];
    for (let i = 12; i < sequence.length; i++) {
      const window = Int32Array.from(sequence.slice(i - 8, i));
      const last = (await numbers(model.forward(backend, params, backend.tensor(window, [1, 8])))).slice(-11);
      expect(last.indexOf(Math.max(...last))).toBe(sequence[i]);
    }
  });

  it('runs in bf16 with parameters cast once', async () => {
    const model = lazyTransformer({ ...TINY, computeDType: 'bf16' });
    const params = castParams(backend, model.init(backend, 1), 'bf16');
    expect(params['model.layers.0.attn.tau'].dtype).toBe('f32');
    const tokens: number[] = [];
    for await (const [token] of generate(backend, model, params, [[1, 2]], { maxNewTokens: 5, temperature: 0 }))
      tokens.push(token);
    expect([tokens]).toEqual(await collect({ maxNewTokens: 5, temperature: 0 }, [[1, 2]], model));
  });

  it('serves a layer alone', async () => {
    const layer = lazyAttentionLayer({ hiddenSize: 16, numHeads: 2, window: 4 });
    const params = layer.init(backend, 1, { dtype: 'f64' });
    const x = noise(backend, [1, 6, 16], 1);
    const full = await numbers(layer.forward(backend, params, x));
    const cache = createCache(backend, layer.config, { batch: 1, capacity: 6, dtype: 'f64' });
    const parts: number[] = [];
    for (const [start, end] of [
      [0, 3],
      [3, 4],
      [4, 6],
    ]) {
      parts.push(...(await numbers(layer.forward(backend, params, backend.slice(x, 1, start, end), { cache }))));
    }
    expect(relativeError(parts, full)).toBeLessThan(1e-9);
    expect(() => layer.forward(backend, params, x, { cache })).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: cache: 6 tokens and 6 more exceed the capacity of 6; create it larger]`,
    );
    const grad = valueAndGrad(backend, (ops, p: typeof params) => ops.sum(layer.forward(ops, p, x, { cache })));
    expect(() => grad(params)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: attention layer: cache is for inference; leave it out inside valueAndGrad]`,
    );
  });
});

describe('generate', () => {
  it('repeats for a seed, and a row does not depend on the others', async () => {
    const options = { maxNewTokens: 10, seed: 5, temperature: 0.8, topK: 8, topP: 0.95 };
    const [a, b] = await collect(options, [
      [1, 2],
      [3, 4, 5, 6],
    ]);
    expect(
      await collect(options, [
        [1, 2],
        [3, 4, 5, 6],
      ]),
    ).toEqual([a, b]);
    expect(await collect(options, [[1, 2]])).toEqual([a]);
    expect(await collect({ ...options, seed: 6 }, [[1, 2]])).not.toEqual([a]);
  });

  it('ends rows at stop tokens and then altogether', async () => {
    const [free] = await collect({ maxNewTokens: 10, seed: 1 }, [[1]]);
    const stop = free[3];
    const at = free.indexOf(stop);
    const rows = await collect({ maxNewTokens: 10, seed: 1, stopTokens: [stop] }, [[1]]);
    expect(rows).toEqual([free.slice(0, at + 1)]);
    const pair = await collect({ maxNewTokens: 10, seed: 1, stopTokens: [stop] }, [[1], [2]]);
    expect(pair[0].slice(at + 1).every((token) => token === -1)).toBe(true);
  });

  it('gives its memory back however it ends', async () => {
    const model = lazyTransformer(TINY);
    const params = model.init(backend, 1);
    const before = backend.memory().tensors;
    for await (const _ of generate(backend, model, params, [[1]], { maxNewTokens: 10 })) break;
    expect(backend.memory().tensors).toBe(before);
    const controller = new AbortController();
    const aborted = async () => {
      for await (const _ of generate(backend, model, params, [[1]], { maxNewTokens: 10, signal: controller.signal }))
        controller.abort();
    };
    await expect(aborted()).rejects.toThrow(/abort/i);
    expect(backend.memory().tensors).toBe(before);
  });

  it.each<[string, number[][], object]>([
    ['no prompts', [], {}],
    ['an empty prompt', [[1], []], {}],
    ['a token outside the vocabulary', [[11]], {}],
    ['a token that would wrap around', [[4294967297]], {}],
    ['a token that is no integer', [[1.5]], {}],
    ['a token that is not a number', [[Number.NaN]], {}],
    ['a token that is a text', [['x' as unknown as number]], {}],
    ['no length', [[1]], { maxNewTokens: 0 }],
    ['an unknown option', [[1]], { topk: 3 }],
    ['a negative temperature', [[1]], { temperature: -1 }],
    ['a topK of 0', [[1]], { topK: 0 }],
    ['a topP above 1', [[1]], { topP: 1.5 }],
  ])('refuses %s', async (_, prompts, options) => {
    const before = backend.memory().tensors;
    const params = Object.keys(lazyTransformer(TINY).shapes).length;
    await expect(collect({ maxNewTokens: 3, ...options }, prompts)).rejects.toThrowErrorMatchingSnapshot();
    expect(backend.memory().tensors).toBe(before + params);
  });
});
