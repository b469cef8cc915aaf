import { type Backend, createBackend, type Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  addingGrad,
  batchTensors,
  disposeParams,
  lazyTransformer,
  type ValueAndGrad,
  valueAndGrad,
} from '../src/index.ts';
import { relativeError } from './helpers.ts';

const model = lazyTransformer({ vocabSize: 61, hiddenSize: 32, numLayers: 2, numHeads: 2, context: 24 });

/** A batch of six rows; many targets are ignored, in the second piece of two rows all of them. */
function hostBatch(rows: number, length = 24) {
  const tokens = Int32Array.from({ length: rows * length }, (_, i) => (i * 7919 + 13) % 61);
  const targets = tokens.map((_, i) => {
    const row = Math.floor(i / length);
    if (row === 2 || row === 3 || (i * 31) % 5 === 0) return -100;
    return (i * 104729 + 5) % 61;
  });
  return { tokens, targets, starts: null, batch: rows, length };
}

describe.each(['reference', 'cpu'])('gradients of pieces on %s', (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(name);
  });
  afterAll(() => backend.dispose());

  it.each([1, 2, 3])('add up to those of the whole batch, %i rows at a time, with ignored targets', async (rows) => {
    const whole = hostBatch(6);
    const params = model.init(backend, 3);
    const before = backend.memory().tensors;
    const loss = (ops: Parameters<typeof model.loss>[0], p: typeof params, batch: ReturnType<typeof batchTensors>) =>
      model.loss(ops, p, batch);
    const all = batchTensors(backend, whole);
    const expected = valueAndGrad(backend, loss)(params, all);
    const count = whole.targets.filter((target) => target >= 0).length;
    let sum: ValueAndGrad<typeof params> | null = null;
    const add = addingGrad(backend, loss);
    for (let row = 0; row < 6; row += rows) {
      const part = (x: Int32Array) => x.slice(row * 24, (row + rows) * 24);
      const piece = batchTensors(backend, {
        ...whole,
        tokens: part(whole.tokens),
        targets: part(whole.targets),
        batch: rows,
      });
      sum = add(params, sum, { ...piece, count });
      for (const tensor of Object.values(piece)) tensor?.dispose();
    }
    const found = sum as ValueAndGrad<typeof params>;
    expect(relativeError(await found.value.data(), await expected.value.data())).toBeLessThan(1e-6);
    for (const name of Object.keys(params)) {
      const [a, b] = [await found.grads[name].data(), await expected.grads[name].data()];
      expect(relativeError(a, b), name).toBeLessThan(1e-6);
    }
    disposeParams({ ...found.grads, value: found.value });
    disposeParams({ ...expected.grads, value: expected.value });
    disposeParams({ tokens: all.tokens, targets: all.targets });
    expect(backend.memory().tensors).toBe(before);
    disposeParams(params);
  });

  it.each([{}, { recompute: true }])(
    'are told when they are whole, those of the last layers first (%o)',
    async (how) => {
      const params = { ...model.init(backend, 3), unused: backend.zeros([2]) };
      const batch = batchTensors(backend, hostBatch(2));
      const told: Tensor[] = [];
      const add = addingGrad(
        backend,
        (ops, { unused: _, ...p }: typeof params) => model.loss(ops, p, batch, how),
        (grad) => void told.push(grad),
      );
      const { value, grads } = add(params, null);
      const order = told.map((grad) => Object.keys(grads).find((name) => grads[name as keyof typeof grads] === grad));
      expect(order.slice().sort()).toEqual(Object.keys(params).sort());
      const place = (part: string) => order.flatMap((name, i) => (name?.includes(part) ? [i] : []));
      expect(Math.max(...place('layers.1.'))).toBeLessThan(Math.min(...place('layers.0.')));
      expect(order.slice(-2)).toEqual(['model.embeddings.weight', 'unused']);
      disposeParams({ ...grads, value });
      for (const tensor of Object.values(batch)) tensor?.dispose();
      disposeParams(params);
    },
  );
});
