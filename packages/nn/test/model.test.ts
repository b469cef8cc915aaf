import type { Backend, Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ATTENTION_KINDS,
  adamW,
  type Batch,
  batchTensors,
  disposeParams,
  type LazyTransformerOptions,
  lazyTransformer,
  type ObservedLayer,
  type Params,
  valueAndGrad,
} from '../src/index.ts';
import { gradientErrors, noise, numbers, reference, relativeError, scalar } from './helpers.ts';

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
  context: 12,
  window: 5,
  intermediateSize: 24,
  initStd: 0.3,
};

/** Initial values with bias, tau and norms moved off their special values. */
function perturbed(options: LazyTransformerOptions, seed = 1): Params {
  const params = lazyTransformer(options).init(backend, seed, { dtype: 'f64' });
  return Object.fromEntries(
    Object.entries(params).map(([name, tensor], i) => {
      if (!/bias$|tau$|norm\.weight$/.test(name)) return [name, tensor];
      return [name, backend.add(tensor, backend.scale(noise(backend, tensor.shape, 1000 + i), 0.3))];
    }),
  );
}

function ids(count: number, seed: number, vocabulary = 11): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => (i * i * 7 + i * seed + seed) % vocabulary);
}

const tokensOf = (values: Int32Array, batch = 1): Tensor => backend.tensor(values, [batch, values.length / batch]);

describe('gradients of the whole model against central differences', () => {
  const cases: [string, LazyTransformerOptions][] = [
    ...ATTENTION_KINDS.map((attention): [string, LazyTransformerOptions] => [attention, { ...TINY, attention }]),
    ['lazy, tied embeddings', { ...TINY, tieEmbeddings: true }],
    ['lazy, own head size', { ...TINY, headDim: 8 }],
  ];
  it.each(cases)('%s', async (_, options) => {
    const model = lazyTransformer(options);
    const params = perturbed(options);
    const batch = batchTensors(backend, {
      tokens: ids(16, 3),
      targets: ids(16, 5).map((id, i) => (i % 5 === 0 ? -100 : id)),
      starts: new Int32Array([0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 2, 2, 2, 5, 5, 5]),
      batch: 2,
      length: 8,
    });
    const errors = await gradientErrors(backend, params, (ops, p) => model.loss(ops, p, batch), 4);
    for (const [name, error] of Object.entries(errors)) expect(error, name).toBeLessThan(1e-6);
  });
});

describe('packed documents', () => {
  const lengths = [5, 1, 4, 2];
  const total = lengths.reduce((sum, n) => sum + n, 0);
  const begins = lengths.map((_, d) => lengths.slice(0, d).reduce((sum, n) => sum + n, 0));

  it.each(ATTENTION_KINDS)('%s: the outputs of each document are those it has alone, to 1e-9', async (attention) => {
    const model = lazyTransformer({ ...TINY, attention });
    const params = perturbed(model.config);
    const tokens = ids(total, 3);
    const starts = backend.tensor(Int32Array.from(lengths.flatMap((n, d) => Array(n).fill(begins[d]))), [1, total]);
    const packed = await numbers(model.forward(backend, params, tokensOf(tokens), { starts }));
    for (const [d, n] of lengths.entries()) {
      const alone = await numbers(model.forward(backend, params, tokensOf(tokens.slice(begins[d], begins[d] + n))));
      const part = packed.slice(begins[d] * 11, (begins[d] + n) * 11);
      expect(relativeError(part, alone)).toBeLessThan(1e-9);
    }
  });

  it('the gradient is the mean of those of the documents alone, weighted by targets, to 1e-9', async () => {
    const model = lazyTransformer(TINY);
    const params = perturbed(TINY);
    const [tokens, targets] = [ids(total, 3), ids(total, 5)];
    const step = valueAndGrad(backend, model.loss);
    const gradient = (batch: Batch) => step(params, batch);
    const packed = gradient({
      tokens: tokensOf(tokens),
      targets: tokensOf(targets),
      starts: backend.tensor(Int32Array.from(lengths.flatMap((n, d) => Array(n).fill(begins[d]))), [1, total]),
    });
    const alone = lengths.map((n, d) =>
      gradient({
        tokens: tokensOf(tokens.slice(begins[d], begins[d] + n)),
        targets: tokensOf(targets.slice(begins[d], begins[d] + n)),
      }),
    );
    const mean = async (pick: (result: (typeof alone)[number]) => Tensor) => {
      const parts = await Promise.all(alone.map((result) => numbers(pick(result))));
      return parts[0].map((_, i) => parts.reduce((sum, part, d) => sum + (part[i] * lengths[d]) / total, 0));
    };
    expect(relativeError(await numbers(packed.value), await mean((result) => result.value))).toBeLessThan(1e-9);
    for (const name of Object.keys(params)) {
      const error = relativeError(await numbers(packed.grads[name]), await mean((result) => result.grads[name]));
      expect(error, name).toBeLessThan(1e-9);
    }
  });
});

describe('training', () => {
  it.each(ATTENTION_KINDS)('%s learns a tiny task, and the number of live tensors stays', async (attention) => {
    const local = await reference();
    const model = lazyTransformer({ vocabSize: 8, hiddenSize: 16, numLayers: 2, numHeads: 2, context: 16, attention });
    const params = model.init(local, 1);
    const optimizer = adamW(local, params);
    const lossAndGrads = valueAndGrad(local, model.loss);
    const row = (shift: number) => Int32Array.from({ length: 32 }, (_, i) => (i + shift) ** 2 % 7);
    const host = { tokens: row(0), targets: row(1), starts: null, batch: 2, length: 16 };
    const losses: number[] = [];
    const live: number[] = [];
    for (let n = 1; n <= 40; n++) {
      const batch = batchTensors(local, host);
      const { value, grads } = lossAndGrads(params, batch);
      const { gradNormSquared } = optimizer.step(grads, 1e-2);
      losses.push(await scalar(value));
      disposeParams(grads);
      for (const tensor of [value, gradNormSquared, batch.tokens, batch.targets]) tensor.dispose();
      live.push(local.memory().tensors);
    }
    expect(losses[0]).toBeGreaterThan(1.9); // ln 8 = 2.08
    expect(losses.at(-1)).toBeLessThan(0.3);
    expect(new Set(live).size).toBe(1);
    optimizer.dispose();
    disposeParams(params);
    expect(local.memory()).toMatchObject({ tensors: 0, bytes: 0 });
    await local.dispose();
  });

  it('leaves nothing alive after a forward pass but the logits', async () => {
    const model = lazyTransformer({ ...TINY, attention: 'alibi' });
    const params = model.init(backend, 1);
    const tokens = tokensOf(ids(8, 1));
    const before = backend.memory().tensors;
    const logits = model.forward(backend, params, tokens);
    expect(backend.memory().tensors).toBe(before + 1);
    logits.dispose();
  });

  it('computes in bf16 with f32 parameters and gradients', async () => {
    const exact = lazyTransformer({ ...TINY, initStd: 0.1 });
    const rounded = lazyTransformer({ ...TINY, initStd: 0.1, computeDType: 'bf16' });
    const params = exact.init(backend, 1);
    const batch = { tokens: tokensOf(ids(12, 1)), targets: tokensOf(ids(12, 2)) };
    expect(rounded.forward(backend, params, batch.tokens).dtype).toBe('bf16');
    const a = valueAndGrad(backend, exact.loss)(params, batch);
    const b = valueAndGrad(backend, rounded.loss)(params, batch);
    expect(await scalar(b.value)).not.toBe(await scalar(a.value));
    expect(await scalar(b.value)).toBeCloseTo(await scalar(a.value), 2);
    for (const name of Object.keys(params)) {
      expect(b.grads[name].dtype).toBe('f32');
      const [found, expected] = await Promise.all([numbers(b.grads[name]), numbers(a.grads[name])]);
      expect(relativeError(found, expected), name).toBeLessThan(0.1);
    }
  });
});

describe('init', () => {
  it('depends on the seed and the name only, with the given spread', async () => {
    const model = lazyTransformer({ ...TINY, hiddenSize: 64, initStd: 0.02 });
    const [a, b, c] = [model.init(backend, 7), model.init(backend, 7), model.init(backend, 8)];
    const wider = lazyTransformer({ ...TINY, hiddenSize: 64, initStd: 0.02, numLayers: 3 }).init(backend, 7);
    const name = 'model.layers.1.mlp.up_proj.weight';
    const values = await numbers(a[name]);
    expect(await numbers(b[name])).toEqual(values);
    expect(await numbers(wider[name])).toEqual(values);
    expect(await numbers(c[name])).not.toEqual(values);
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(deviation).toBeCloseTo(0.02, 2);
    expect(values.slice(0, 3)).toMatchInlineSnapshot(`
      [
        0.02312963455915451,
        0.006220500450581312,
        -0.03431421145796776,
      ]
    `);
    expect(await numbers(a['model.layers.0.attn.tau'])).toEqual([-1, -1, -1, -1]);
    expect(new Set(await numbers(a['model.layers.0.attn.bias']))).toEqual(new Set([0]));
    expect(new Set(await numbers(a['model.norm.weight']))).toEqual(new Set([1]));
  });
});

describe('observe', () => {
  it('shows each layer what the attention worked with', async () => {
    const model = lazyTransformer(TINY);
    const params = perturbed(TINY);
    const layers: number[] = [];
    const errors: Promise<number>[] = [];
    const observe = ({ index, hidden, q, k, v, bias, tau, starts, output }: ObservedLayer) => {
      layers.push(index);
      expect(hidden.shape).toEqual([1, 8, 16]);
      const again = backend.attention(q, k, v, { bias, tau, starts }).output;
      errors.push(Promise.all([numbers(again), numbers(output)]).then(([a, b]) => relativeError(a, b)));
    };
    model.forward(backend, params, tokensOf(ids(8, 1)), { observe });
    expect(layers).toEqual([0, 1]);
    expect(await Promise.all(errors)).toEqual([0, 0]);
  });
});

describe('errors', () => {
  it('of the forward pass', async () => {
    const model = lazyTransformer(TINY);
    const params = model.init(backend, 1);
    const { 'model.layers.1.attn.tau': _, ...incomplete } = params;
    const tokens = tokensOf(ids(8, 1));
    expect(() => model.forward(backend, incomplete, tokens)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: params has no 'model.layers.1.attn.tau'; it has 24 entries: model.embeddings.weight, model.layers.0.attn_norm.weight, model.layers.0.attn.q_proj.weight, model.layers.0.attn.k_proj.weight, model.layers.0.attn.v_proj.weight, ...]`,
    );
    expect(() => model.forward(backend, params, backend.tensor(ids(8, 1), [8]))).toThrowErrorMatchingInlineSnapshot(
      `[ShapeError: forward: tokens has shape [8]; expected [B, L]]`,
    );
    expect(() => model.forward(backend, params, tokensOf(new Int32Array([1, 11])))).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: embedding: ids holds 11 at element 1; expected 0 to 10 (the vocabulary has 11 entries)]`,
    );
    const starts = backend.tensor(new Int32Array([0, 2, 1, 1, 1, 1, 1, 1]), [1, 8]);
    const live = backend.memory().tensors;
    expect(() => model.forward(backend, params, tokens, { starts })).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: attention: starts[0, 1] is 2; row 1 is position 1, so expected 0 to 1]`,
    );
    expect(backend.memory().tensors).toBe(live); // what had been computed before the error is gone
    expect(() => model.init(backend, 1.5)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: init: seed is 1.5; expected an integer from 0]`,
    );
  });
});
