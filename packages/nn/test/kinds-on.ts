import { type Backend, createBackend, type Tensor } from '@lazy-attention/core';
import { expect, it } from 'vitest';
import { attentionKinds, lazyAttentionLayer, type Params, valueAndGrad } from '../src/index.ts';
import { noise } from './helpers.ts';

/** Two documents, longer than a tile of any backend is wide. */
const [B, L, C] = [1, 70, 32];
const STARTS = Int32Array.from({ length: B * L }, (_, i) => (i % L >= 41 ? 41 : 0));

/** Relative Frobenius errors that float32 may have against float64: of the layer's output, and of its gradients. */
const TOLERANCE = { value: 2e-5, gradient: 1e-4 };

/**
 * Declares a test for every kind of attention, with and without QK-norm: the layer's output and all of its gradients on a backend
 * are those of the float64 reference, whose gradients kinds.test.ts holds against central differences. `norms`: which of the two.
 */
export function testKindsOn(
  name: string,
  open: () => Promise<Backend>,
  norms: readonly boolean[] = [false, true],
): void {
  const all = attentionKinds().flatMap((kind) => norms.map((qkNorm) => [kind.name, qkNorm] as const));
  it.each(all)(
    `%s is that of the reference on ${name}, value and gradients, QK-norm %s`,
    { timeout: 240_000 },
    async (kind, qkNorm) => {
      const [backend, reference] = [await open(), await createBackend('reference')];
      try {
        const [here, there] = [
          await computed(backend, reference, kind, qkNorm),
          await computed(reference, reference, kind, qkNorm),
        ];
        for (const [of, values] of Object.entries(there)) {
          const error = frobenius(here[of] ?? [], values);
          expect(error, `${of}: ${error}`).toBeLessThan(of === 'value' ? TOLERANCE.value : TOLERANCE.gradient);
        }
      } finally {
        await backend.dispose();
        await reference.dispose();
      }
    },
  );
}

function frobenius(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let [difference, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return Math.sqrt(difference / Math.max(size, 1e-30));
}

/** The output of a layer and the gradients of its weighted sum, from the same float32 parameters on any backend. */
async function computed(
  on: Backend,
  reference: Backend,
  attention: string,
  qkNorm: boolean,
): Promise<Readonly<Record<string, ArrayLike<number>>>> {
  const layer = lazyAttentionLayer({ hiddenSize: C, numHeads: 4, numKvHeads: 2, attention, qkNorm });
  const dtype = on === reference ? 'f64' : 'f32';
  const made = async (shape: readonly number[], seed: number): Promise<Tensor> => {
    const drawn = Float32Array.from(await noise(reference, shape, seed).data());
    return on.tensor(dtype === 'f64' ? Float64Array.from(drawn) : drawn, shape);
  };
  const params: Record<string, Tensor> = { x: await made([B, L, C], 50) };
  for (const [i, [of, shape]] of Object.entries(layer.shapes).entries()) params[of] = await made(shape, i + 1);
  const weights = await made([B, L, C], 51);
  const starts = on.tensor(STARTS, [B, L]);
  const found: Record<string, ArrayLike<number>> = {};
  found.value = await layer.forward(on, params, params.x as Tensor, { starts }).data();
  const { grads } = valueAndGrad(on, (ops, p: Params) =>
    ops.sum(ops.mul(layer.forward(ops, p, p.x as Tensor, { starts }), weights)),
  )(params);
  for (const [of, grad] of Object.entries(grads)) found[`gradient of ${of}`] = await grad.data();
  return found;
}
