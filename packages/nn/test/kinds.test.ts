import type { Backend } from '@lazy-attention/core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type AttentionOptionsInput,
  attentionKind,
  attentionKinds,
  ConfigError,
  defineAttention,
  disposeParams,
  generate,
  lazyAttentionLayer,
  lazyTransformer,
  type Params,
  recomputed,
  valueAndGrad,
  weightedAttention,
} from '../src/index.ts';
import { gradientErrors, noise, numbers, reference, relativeError } from './helpers.ts';
import { type Arrays, naiveLayer, project, softmax, type Weights } from './naive.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());
afterEach(() => vi.restoreAllMocks());

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const logistic = (x: number) => 1 / (1 + Math.exp(-x));

const softpick: Weights = (scores) => {
  const m = Math.max(...scores);
  const above = scores.map((s) => Math.exp(s - m) - Math.exp(-m));
  const total = sum(above.map(Math.abs)) + 1e-6;
  return above.map((a) => Math.max(a, 0) / total);
};

/** spec §Sink logit: softmax beside one more logit, whose weight goes nowhere. */
const beside = (sink: number, scores: readonly number[]) => {
  const total = Math.exp(sink) + sum(scores.map(Math.exp));
  return scores.map((s) => Math.exp(s) / total);
};

const sigmoid: Weights = (scores) => scores.map((s) => logistic(s - Math.log(scores.length)));

/** By bisection of the threshold. */
const entmax: Weights = (scores) => {
  let [low, high] = [Math.max(...scores) / 2 - 1, Math.max(...scores) / 2];
  const at = (t: number) => scores.map((s) => Math.max(s / 2 - t, 0) ** 2);
  for (let n = 0; n < 80; n++) {
    const middle = (low + high) / 2;
    if (sum(at(middle)) > 1) low = middle;
    else high = middle;
  }
  return at(low);
};

const forgetting =
  (p: Arrays): Weights =>
  (scores, row) => {
    const forget = row.x.map((x) => -Math.log1p(Math.exp(-project(x, p['f_proj.weight'], p['f_proj.bias'])[row.head])));
    return softmax(
      scores.map((s, n) => s + sum(forget.slice(row.start + n + 1, row.i + 1))),
      row,
    );
  };

const WEIGHTS: Record<string, (p: Arrays) => Weights> = {
  softmax: () => softmax,
  gated: () => softmax,
  sink: (p) => (scores, row) => beside(p.sink?.[row.head] as number, scores),
  'off-by-one': () => (scores) => beside(0, scores),
  softpick: () => softpick,
  sigmoid: () => sigmoid,
  entmax: () => entmax,
  forgetting,
};

const noisy = (shapes: Readonly<Record<string, readonly number[]>>): Params =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, noise(backend, shape, i + 1)]));
const arraysOf = async (params: Params): Promise<Arrays> =>
  Object.fromEntries(await Promise.all(Object.entries(params).map(async ([name, t]) => [name, await numbers(t)])));

const [B, L, C] = [2, 9, 16];
/** A document that begins at 4 in the first row of the batch. */
const DOCUMENTS = Int32Array.from({ length: B * L }, (_, i) => (i < L && i % L >= 4 ? 4 : 0));
const layerOf = (attention: string, change: Partial<AttentionOptionsInput> = {}) =>
  lazyAttentionLayer({ hiddenSize: C, numHeads: 4, numKvHeads: 2, attention, ...change });

describe.each(Object.keys(WEIGHTS))('%s', (name) => {
  const variants: [string, Partial<AttentionOptionsInput>][] = [
    ['', {}],
    [' with QK-norm', { qkNorm: true }],
    [' in a sliding window', { slidingWindow: 3 }],
  ];
  it.each(variants)('is the formula in float64%s', async (_, change) => {
    const layer = layerOf(name, change);
    const params = noisy(layer.shapes);
    const arrays = await arraysOf(params);
    const x = noise(backend, [B, L, C], 50);
    for (const starts of [undefined, DOCUMENTS]) {
      const y = layer.forward(backend, params, x, { starts: starts && backend.tensor(starts, [B, L]) });
      const expected = naiveLayer(layer.config, arrays, await numbers(x), [B, L], {
        weights: WEIGHTS[name](arrays),
        rotates: attentionKind(name).rope,
        starts,
        gate: (value, channel, row) =>
          name === 'gated' ? value * logistic(project(row, arrays['g_proj.weight'])[channel]) : value,
      });
      expect(relativeError(await numbers(y), expected)).toBeLessThan(1e-9);
    }
  });
});

describe('gated-deltanet', () => {
  /** S_t = a S (I - b k k^T) + b v k^T and o = S q, token by token. */
  const recurrence = (p: Arrays, x: number[], documents: Int32Array | undefined): number[] => {
    const [H, D] = [4, 4];
    const out: number[] = [];
    const unit = (v: number[]) => v.map((a) => a / Math.sqrt(sum(v.map((b) => b * b)) + 1e-6 * D));
    for (let b = 0; b < B; b++) {
      const states = Array.from({ length: H }, () => Array.from({ length: D }, () => new Array<number>(D).fill(0)));
      for (let i = 0; i < L; i++) {
        const row = x.slice((b * L + i) * C, (b * L + i + 1) * C);
        const of = (name: string) => project(row, p[`${name}_proj.weight`]);
        const head = (flat: number[], h: number) => flat.slice(h * D, (h + 1) * D);
        const joined = states.flatMap((S, h) => {
          const [q, k, v] = [unit(head(of('q'), h)), unit(head(of('k'), h >> 1)), head(of('v'), h >> 1)];
          const rate = logistic(of('b')[h]);
          const decay = Math.exp(-Math.exp(p.A_log[h]) * Math.log1p(Math.exp(of('a')[h] + p.dt_bias[h])));
          const a = documents !== undefined && i > 0 && documents[b * L + i] === i ? 0 : decay;
          for (let d = 0; d < D; d++) {
            const seen = sum(S[d].map((s, e) => s * k[e]));
            for (let e = 0; e < D; e++) S[d][e] = a * (S[d][e] - rate * seen * k[e]) + rate * v[d] * k[e];
          }
          return S.map((line) => sum(line.map((s, e) => s * q[e])));
        });
        out.push(...project(joined, p['o_proj.weight']));
      }
    }
    return out;
  };

  it.each([undefined, DOCUMENTS])('is the recurrence in float64, documents %j', async (starts) => {
    const layer = layerOf('gated-deltanet');
    const params = noisy(layer.shapes);
    const x = noise(backend, [B, L, C], 50);
    const y = layer.forward(backend, params, x, { starts: starts && backend.tensor(starts, [B, L]) });
    const expected = recurrence(await arraysOf(params), await numbers(x), starts);
    expect(relativeError(await numbers(y), expected)).toBeLessThan(1e-9);
  });

  it('is the same in chunks as token by token, over several chunks', async () => {
    const model = lazyTransformer({
      vocabSize: 7,
      hiddenSize: 16,
      numLayers: 1,
      numHeads: 2,
      context: 80,
      attention: 'gated-deltanet',
    });
    const params = noisy(model.shapes);
    const tokens = Int32Array.from({ length: 70 }, (_, i) => (i * i) % 7);
    const all = await numbers(model.forward(backend, params, backend.tensor(tokens, [1, 70])));
    const half = await numbers(model.forward(backend, params, backend.tensor(tokens.slice(0, 41), [1, 41])));
    expect(relativeError(half, all.slice(0, half.length))).toBeLessThan(1e-10);
  });

  it('refuses a sliding window, which it cannot have', () => {
    expect(() => layerOf('gated-deltanet', { slidingWindow: 3 })).toThrow(ConfigError);
  });
});

describe('every composed kind', () => {
  const composed = attentionKinds().flatMap((kind) => ('attend' in kind ? [kind.name] : []));

  it.each(composed)('%s has the gradient of central differences and leaves nothing alive', async (name) => {
    const layer = layerOf(name);
    const before = backend.memory().tensors;
    const params: Params = { ...noisy(layer.shapes), x: noise(backend, [B, L, C], 50) };
    const weights = noise(backend, [B, L, C], 51);
    const starts = backend.tensor(DOCUMENTS, [B, L]);
    const errors = await gradientErrors(backend, params, (ops, p) =>
      ops.sum(ops.mul(layer.forward(ops, p, p.x, { starts }), weights)),
    );
    for (const [of, error] of Object.entries(errors)) expect(error, of).toBeLessThan(2e-6);
    for (const tensor of [weights, starts]) tensor.dispose();
    disposeParams(params);
    expect(backend.memory().tensors).toBe(before);
  });
});

describe('every composed kind in a model', () => {
  const composed = attentionKinds().flatMap((kind) => ('attend' in kind ? [kind.name] : []));
  const modelOf = (attention: string, computeDType: 'bf16' | null) =>
    lazyTransformer({
      vocabSize: 11,
      hiddenSize: 16,
      numLayers: 2,
      numHeads: 4,
      numKvHeads: 2,
      context: 24,
      initStd: 0.3,
      attention,
      computeDType,
    });
  const ids = (tokens: readonly number[]) => backend.tensor(Int32Array.from(tokens), [1, tokens.length]);

  it.each(composed)('%s: generates what the full forward would', async (name) => {
    const model = modelOf(name, null);
    const params = model.init(backend, 1);
    const [prompt, found, expected] = [[3, 1, 4, 1], [] as number[], [] as number[]];
    for await (const [token] of generate(backend, model, params, [prompt], { maxNewTokens: 8, temperature: 0 })) {
      found.push(token);
    }
    for (let n = 0; n < 8; n++) {
      const logits = await numbers(
        model.forward(backend, params, ids([...prompt, ...expected]), { positions: 'last' }),
      );
      expected.push(logits.indexOf(Math.max(...logits)));
    }
    expect(found).toEqual(expected);
  });

  it.each(composed)('%s: computes in bf16, with gradients', async (name) => {
    const params = modelOf(name, null).init(backend, 1);
    const tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5];
    const exact = await numbers(modelOf(name, null).forward(backend, params, ids(tokens)));
    const half = modelOf(name, 'bf16');
    const logits = await numbers(half.forward(backend, params, ids(tokens)));
    expect(relativeError(logits, exact)).toBeLessThan(0.05);
    const batch = { tokens: ids(tokens), targets: ids(tokens.map((t) => (t + 1) % 11)) };
    const { grads } = valueAndGrad(backend, (ops, p: Params) => half.loss(ops, p, batch))(params);
    for (const grad of Object.values(grads)) expect((await numbers(grad)).every(Number.isFinite)).toBe(true);
  });
});

describe("an attention of one's own", () => {
  it('is named in configs, has parameters, and trains', async () => {
    defineAttention({
      name: 'scaled-softmax',
      params: ({ numHeads }) => ({ sharpness: { shape: [1, numHeads, 1, 1], init: 1 } }),
      attend: (ops, inputs) =>
        weightedAttention(ops, inputs, (inner, { scores, mask }) => {
          const sharp = mask(inner.binary('mul', scores, inputs.params.sharpness));
          const lse = inner.reduce('logSumExp', sharp, { axes: [-1], keepDims: true });
          return inner.unary('exp', inner.binary('sub', sharp, lse));
        }),
    });
    const [own, plain] = [layerOf('scaled-softmax'), layerOf('softmax')];
    expect(own.shapes.sharpness).toEqual([1, 4, 1, 1]);
    const params = own.init(backend, 1, { dtype: 'f64' });
    const x = noise(backend, [B, L, C], 50);
    const expected = await numbers(plain.forward(backend, params, x));
    expect(relativeError(await numbers(own.forward(backend, params, x)), expected)).toBeLessThan(1e-12);
    const { grads } = valueAndGrad(backend, (ops, p: Params) => ops.sum(own.forward(ops, p, x)))(params);
    expect(Math.abs((await numbers(grads.sharpness))[0])).toBeGreaterThan(0);
  });

  it('says what is wrong with it', () => {
    const define = (spec: object) => () => defineAttention(spec as Parameters<typeof defineAttention>[0]);
    const attend = () => undefined;
    expect(define({ name: 'Mine', attend })).toThrowErrorMatchingInlineSnapshot(
      `[ConfigError: defineAttention: name is 'Mine'; expected lower-case letters, digits and hyphens, a letter first]`,
    );
    expect(define({ name: 'lazy', attend })).toThrowErrorMatchingInlineSnapshot(
      `[ConfigError: defineAttention: 'lazy' is a built-in kind; choose another name]`,
    );
    expect(define({ name: 'mine' })).toThrowErrorMatchingInlineSnapshot(
      `[ConfigError: defineAttention: attend of 'mine' is undefined; expected a function]`,
    );
    expect(define({ name: 'mine', attend, rope: 1 })).toThrowErrorMatchingInlineSnapshot(
      `[ConfigError: defineAttention: rope of 'mine' is 1; expected true or false]`,
    );
    defineAttention({ name: 'mine', attend: (_ops, { x }) => x });
    const layer = layerOf('mine');
    expect(() =>
      layer.forward(backend, layer.init(backend, 1), backend.zeros([B, L, C])),
    ).toThrowErrorMatchingInlineSnapshot(
      `[ShapeError: attention 'mine': attend returned shape [2, 9, 16]; expected a tensor [2, 9, 4, 4], that of q]`,
    );
    defineAttention({
      name: 'mine',
      params: () => ({ 'q_proj.weight': { shape: [1], init: 0 } }),
      attend: (_ops, { q }) => q,
    });
    expect(() => layerOf('mine')).toThrowErrorMatchingInlineSnapshot(
      `[ConfigError: attention 'mine': params names 'q_proj.weight', which every layer has]`,
    );
  });
});

describe('weightedAttention', () => {
  it('in chunks of queries has the value and the gradients of the whole', async () => {
    const define = (name: string, entries: number) =>
      defineAttention({
        name,
        attend: (ops, inputs) =>
          weightedAttention(ops, inputs, (inner, { scores, mask }) => inner.unary('sigmoid', mask(scores)), {
            entries,
          }),
      });
    define('in-one', 2 ** 20);
    define('in-chunks', B * 4 * L * 2);
    const params: Params = { ...noisy(layerOf('in-one').shapes), x: noise(backend, [B, L, C], 50) };
    const starts = backend.tensor(DOCUMENTS, [B, L]);
    const weights = noise(backend, [B, L, C], 51);
    const of = (name: string) =>
      valueAndGrad(backend, (ops, p: Params) =>
        ops.sum(ops.mul(layerOf(name).forward(ops, p, p.x, { starts }), weights)),
      )(params);
    const [whole, chunks] = [of('in-one'), of('in-chunks')];
    expect(relativeError(await numbers(chunks.value), await numbers(whole.value))).toBeLessThan(1e-14);
    for (const name of Object.keys(params)) {
      const [found, expected] = [await numbers(chunks.grads[name]), await numbers(whole.grads[name])];
      expect(relativeError(found, expected), name).toBeLessThan(1e-13);
    }
  });
});

describe('recomputed', () => {
  it('has the value and gradient of the function, and keeps its inputs alone', async () => {
    const params = { a: noise(backend, [3, 4], 1), b: noise(backend, [3, 4], 2) };
    const fn = (ops: Parameters<typeof recomputed>[0], [a, b]: Parameters<typeof recomputed>[1]) =>
      ops.unary('sin', ops.binary('mul', ops.unary('exp', a), b));
    const plain = valueAndGrad(backend, (ops, { a, b }: typeof params) => ops.sum(fn(ops, [a, b])))(params);
    const again = valueAndGrad(backend, (ops, { a, b }: typeof params) => ops.sum(recomputed(ops, [a, b], fn)))(params);
    for (const name of ['a', 'b'] as const) {
      expect(await numbers(again.grads[name])).toEqual(await numbers(plain.grads[name]));
    }
    expect(await numbers(again.value)).toEqual(await numbers(plain.value));
  });
});
