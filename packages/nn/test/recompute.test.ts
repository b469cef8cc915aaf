import { type Backend, createBackend } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ATTENTION_KINDS,
  batchTensors,
  disposeParams,
  type LazyTransformerOptions,
  type LossOptions,
  lazyTransformer,
  valueAndGrad,
} from '../src/index.ts';

const SIZE: LazyTransformerOptions = { vocabSize: 300, hiddenSize: 64, numLayers: 3, numHeads: 4, context: 32 };

/** Documents of 20 tokens across rows, every fifth target ignored. */
function hostBatch(batch: number, length: number, vocabulary: number) {
  const tokens = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919 + 13) % vocabulary);
  const targets = tokens.map((_, i) => (i % 5 === 4 ? -100 : (i * 104729 + 5) % vocabulary));
  const starts = tokens.map((_, i) => Math.floor((i % length) / 20) * 20);
  return { tokens, targets, starts, batch, length };
}

async function gradients(backend: Backend, options: LazyTransformerOptions, how: LossOptions, batch = 4) {
  const model = lazyTransformer(options);
  const params = model.init(backend, 7);
  const data = batchTensors(backend, hostBatch(batch, options.context, options.vocabSize));
  const { value, grads } = valueAndGrad(backend, model.loss)(params, data, how);
  const read: Record<string, number[]> = { loss: Array.from(await value.data()) };
  for (const [name, grad] of Object.entries(grads)) read[name] = Array.from(await grad.data());
  const { tokens, targets, starts } = data;
  for (const tensor of [value, tokens, targets, starts]) tensor?.dispose();
  disposeParams(grads);
  disposeParams(params);
  return read;
}

/** The most that the gradients of a batch take beside weights and batch. */
async function peak(options: LazyTransformerOptions, how: LossOptions, batch: number): Promise<number> {
  const backend = await createBackend('cpu');
  try {
    await gradients(backend, options, how, batch);
    return backend.memory().peakBytes;
  } finally {
    await backend.dispose();
  }
}

describe('on cpu', () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend('cpu');
  });
  afterAll(() => backend.dispose());

  it.each(ATTENTION_KINDS)('recomputed layers of %s have the same gradients, bit for bit', async (attention) => {
    const options = { ...SIZE, attention };
    const before = backend.memory().tensors;
    expect(await gradients(backend, options, { recompute: true })).toEqual(await gradients(backend, options, {}));
    expect(backend.memory().tensors).toBe(before);
  });

  it.each([
    ['grouped heads, ties and a bias of projections', { numKvHeads: 2, tieEmbeddings: true, attentionBias: 'qkv' }],
    ['scaled frequencies and a sliding window', { ropeScaling: { type: 'linear', factor: 2 }, slidingWindow: 8 }],
  ] as const)('%s, too', async (_, more) => {
    const options = { ...SIZE, ...more } as LazyTransformerOptions;
    expect(await gradients(backend, options, { recompute: true })).toEqual(await gradients(backend, options, {}));
  });

  it.each([32, 50, 128])('the head and its loss %i rows at a time have the gradients of all rows', async (lossRows) => {
    const [chunked, whole] = [await gradients(backend, SIZE, { lossRows }), await gradients(backend, SIZE, {})];
    for (const [name, values] of Object.entries(whole)) {
      const norm = Math.hypot(...values);
      expect(Math.hypot(...values.map((x, i) => x - chunked[name][i])), name).toBeLessThan(1e-6 * norm);
    }
    expect(await gradients(backend, SIZE, { lossRows })).toEqual(chunked);
  });

  // Blocks of the matrix product are 256 steps long, and a chunk of as many continues the same sum. Products of few entries are
  // cut along the sum instead (docs/kernels/training-memory.md), and round in other places.
  it('chunks of 512 rows have the same gradients, bit for bit', async () => {
    const options = { ...SIZE, numLayers: 1, numHeads: 8, hiddenSize: 512, vocabSize: 2000, context: 256 };
    const { loss, ...chunked } = await gradients(backend, options, { lossRows: 512 });
    const { loss: whole, ...grads } = await gradients(backend, options, {});
    const differ = Object.keys(grads).filter((name) => grads[name].some((x, i) => x !== chunked[name][i]));
    expect(differ).toEqual([]);
    expect(loss[0]).toBeCloseTo(whole[0], 5);
  });
});

it('recomputed in bf16 on the reference, bit for bit', async () => {
  const backend = await createBackend('reference');
  const options = { ...SIZE, numLayers: 2, computeDType: 'bf16' } as const;
  expect(await gradients(backend, options, { recompute: true }, 1)).toEqual(await gradients(backend, options, {}, 1));
  await backend.dispose();
});

it('takes at most 40 % of the memory at the peak', async () => {
  const options = { vocabSize: 4000, hiddenSize: 64, numLayers: 8, numHeads: 4, context: 256 };
  const whole = await peak(options, {}, 8);
  expect(await peak(options, { recompute: true, lossRows: 256 }, 8)).toBeLessThan(0.4 * whole);
});

it('losses by position add up to the loss, and never need all logits', async () => {
  const backend = await createBackend('cpu');
  const options = { ...SIZE, vocabSize: 20_000 };
  const model = lazyTransformer(options);
  const params = model.init(backend, 7);
  const host = hostBatch(4, options.context, options.vocabSize);
  const data = batchTensors(backend, host);
  const before = backend.memory().bytes;
  const sums = model.lossSums(backend, params, data, [16, 20, 50, 80, 110, 128]);
  expect(backend.memory().peakBytes - before).toBeLessThan((4 * 128 * options.vocabSize) / 2);
  const loss = model.loss(backend, params, data);
  const nats = (await Promise.all(sums.map((sum) => sum.data()))).reduce((total, [sum]) => total + sum, 0);
  const counted = host.targets.filter((target) => target !== -100).length;
  expect(nats / counted).toBeCloseTo((await loss.data())[0], 4);
  expect(() => model.lossSums(backend, params, data, [16, 16])).toThrow('ends[1] is 16; expected an integer above 16');
  expect(() => model.lossSums(backend, params, data, [129])).toThrow('at most 128');
  await backend.dispose();
});

it('refuses what cannot be', async () => {
  const backend = await createBackend('reference');
  const model = lazyTransformer(SIZE);
  const params = model.init(backend, 1);
  const { tokens, targets } = batchTensors(backend, { ...hostBatch(1, 32, 300), starts: null });
  const run = (how: LossOptions) => valueAndGrad(backend, model.loss)(params, { tokens, targets }, how);
  expect(() => run({ lossRows: 0 })).toThrow('loss: lossRows is 0; expected a positive integer');
  const watched = valueAndGrad(backend, (ops, p: typeof params) =>
    ops.sum(model.forward(ops, p, tokens, { recompute: true, observe: () => {} })),
  );
  expect(() => watched(params)).toThrow('recompute does not go with observe');
  await backend.dispose();
});
