import { readFileSync } from 'node:fs';
import { elementCount } from '@lazy-attention/core';
import { expect, it } from 'vitest';
import { ATTENTION_KINDS, batchTensors, lazyTransformer, valueAndGrad } from '../src/index.ts';
import { numbers, reference, relativeError, scalar } from './helpers.ts';

interface Golden {
  readonly loss: number;
  readonly logits: number[];
  readonly grads: Record<string, number>;
}
const golden = JSON.parse(readFileSync(new URL('fixtures/model.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

/** As fixtures/model.py makes them. */
function values(name: string, count: number): Float64Array {
  const phase = Array.from(name).reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  const offset = name.endsWith('norm.weight') ? 1 : name.endsWith('tau') ? -1 : 0;
  return Float64Array.from({ length: count }, (_, i) => offset + 0.4 * Math.sin(i * 1.7 + phase));
}

it.each(ATTENTION_KINDS.filter((kind) => kind in golden))(
  '%s: loss, logits and gradients are those of an independent program in PyTorch',
  async (attention) => {
    const backend = await reference();
    const model = lazyTransformer({
      vocabSize: 7,
      hiddenSize: 12,
      numLayers: 2,
      numHeads: 6,
      numKvHeads: 3,
      headDim: 8,
      intermediateSize: 20,
      context: 10,
      window: 4,
      attention,
    });
    const params = Object.fromEntries(
      Object.entries(model.shapes).map(([name, shape]) => [
        name,
        backend.tensor(values(name, elementCount(shape)), shape),
      ]),
    );
    const n = Array.from({ length: 20 }, (_, i) => i);
    const batch = batchTensors(backend, {
      tokens: Int32Array.from(n, (i) => (i * i + 2 * i) % 7),
      targets: Int32Array.from(n, (i) => (i % 5 === 0 ? -100 : (i * i + 3 * i) % 7)),
      starts: new Int32Array([0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 2, 2, 2, 2, 2, 7, 7, 7]),
      batch: 2,
      length: 10,
    });
    const expected = golden[attention];
    const { value, grads } = valueAndGrad(backend, model.loss)(params, batch);
    expect(await scalar(value)).toBeCloseTo(expected.loss, 11);
    const logits = model.forward(backend, params, batch.tokens, { starts: batch.starts });
    expect(relativeError(await numbers(logits), expected.logits)).toBeLessThan(1e-11);
    expect(Object.keys(grads)).toEqual(Object.keys(expected.grads));
    for (const [name, grad] of Object.entries(grads)) {
      const product = (await numbers(grad)).reduce((sum, g, i) => sum + g * Math.cos(i), 0);
      expect(product, name).toBeCloseTo(expected.grads[name], 9);
    }
    await backend.dispose();
  },
);
