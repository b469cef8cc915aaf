import { provider as reference } from '@lazy-attention/backend-reference';
import { provider } from '@lazy-attention/backend-tfjs';
import { Backend, type Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// spec §Not a number: what has no value in the reference has none here, and a mask of -Infinity is a legal bias.

const [B, L, S, H, Hkv, D, W] = [2, 5, 7, 4, 2, 8, 4];
const SHAPES = { q: [B, L, H, D], k: [B, S, Hkv, D], v: [B, S, Hkv, D], bias: [H, W], tau: [H] } as const;
type Name = keyof typeof SHAPES;
type Host = Readonly<Record<Name, Float32Array>>;

/** Small whole numbers, so that sums are exact and nothing but the poison is unusual. */
function inputs(): Host {
  const values = (shape: readonly number[], step: number) =>
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => (((i + 1) * step) % 13) / 8 - 0.75);
  return {
    q: values(SHAPES.q, 5),
    k: values(SHAPES.k, 7),
    v: values(SHAPES.v, 3),
    bias: values(SHAPES.bias, 11),
    tau: Float32Array.of(-1, 0.5, -0.25, -2),
  };
}

function poisoned(name: Name, at: number, value: number): Host {
  const host = inputs();
  host[name][at] = value;
  return host;
}

interface Options {
  readonly tau: boolean;
  readonly starts: boolean;
}

type Results = Record<string, ArrayLike<number>>;

/** Everything that attention gives, forward and back. */
async function attend(backend: Backend, host: Host, { tau, starts }: Options): Promise<Results> {
  const dtype = backend.name === 'reference' ? 'f64' : 'f32';
  const x = Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => [name, backend.tensor(host[name as Name], shape, dtype)]),
  ) as Record<Name, Tensor>;
  const first = Int32Array.from({ length: B * L }, (_, i) => (i % L > 2 ? 2 : 0));
  const options = {
    bias: x.bias,
    ...(tau ? { tau: x.tau } : {}),
    ...(starts ? { starts: backend.tensor(first, [B, L]) } : {}),
  };
  const { output, saved } = backend.attention(x.q, x.k, x.v, options);
  const dOutput = backend.tensor(
    Float32Array.from({ length: B * L * H * D }, (_, i) => (i % 7) - 3),
    SHAPES.q,
    dtype,
  );
  const { dq, dk, dv, dbias, dtau } = backend.attentionGrad(dOutput, saved);
  const tensors = { output, weights: backend.attentionWeights(x.q, x.k, options), dq, dk, dv, dbias, dtau };
  const results: Results = {};
  for (const [name, tensor] of Object.entries(tensors)) if (tensor) results[name] = await tensor.data();
  return results;
}

describe.each(['wasm', 'cpu'])('attention on %s', (engine) => {
  let tested: Backend;
  let oracle: Backend;
  beforeAll(async () => {
    tested = new Backend(await provider.create({ engine }));
    oracle = new Backend(await reference.create({}));
  });
  afterAll(async () => {
    await tested.dispose();
    await oracle.dispose();
  });

  const cases = (['q', 'k', 'v', 'bias', 'tau'] as const).flatMap((name) =>
    [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].flatMap((value) =>
      [true, false].flatMap((tau) => [true, false].map((starts) => ({ name, value, tau, starts }))),
    ),
  );
  it.each(cases)('$value in $name hides nowhere (tau $tau, starts $starts)', async ({ name, value, tau, starts }) => {
    const size = SHAPES[name].reduce<number>((a, b) => a * b, 1);
    for (const at of [0, size >> 1, size - 1]) {
      const host = poisoned(name, at, value);
      const expected = await attend(oracle, host, { tau, starts });
      const actual = await attend(tested, host, { tau, starts });
      for (const [result, values] of Object.entries(expected)) {
        for (let i = 0; i < values.length; i++) {
          const got = actual[result][i];
          if (Number.isNaN(values[i])) expect(got, `${result}[${i}]`).toBeNaN();
          // The other way round a gradient, or a value's NaN, may spread within a block of rows.
          else if (!Number.isNaN(got)) expect(Math.abs(got - values[i]) || 0, `${result}[${i}]`).toBeLessThan(1e-4);
          else expect([result, name], `${result}[${i}] for ${name}[${at}]`).not.toEqual(['weights', name]);
        }
      }
    }
  });

  it('ignores what stands in keys of the future and before starts', async () => {
    const clean = await attend(tested, inputs(), { tau: true, starts: true });
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 3e38]) {
      // The last key is attended by the last row alone; key 1 by rows 0 to 2.
      for (const [key, rows] of [
        [S - 1, [L - 1]],
        [1, [0, 1, 2]],
      ] as const) {
        const host = inputs();
        for (let b = 0; b < B; b++) host.k.fill(value, (b * S + key) * Hkv * D, (b * S + key + 1) * Hkv * D);
        const { output, weights } = await attend(tested, host, { tau: true, starts: true });
        const row = (i: number) => Math.floor(i / (H * D)) % L;
        for (let i = 0; i < output.length; i++) {
          if (!(rows as readonly number[]).includes(row(i))) expect(output[i]).toBe(clean.output[i]);
        }
        for (let i = 0; i < weights.length; i++) {
          const r = Math.floor(i / S) % L;
          if (!(rows as readonly number[]).includes(r)) expect(weights[i]).toBe(clean.weights[i]);
        }
      }
    }
  });

  it('takes a bias of -Infinity as a mask, and gives NaN where it masks all', async () => {
    const host = inputs();
    host.bias.fill(Number.NEGATIVE_INFINITY, 1, 3); // head 0: distances 1 and 2
    host.bias[W] = Number.NEGATIVE_INFINITY; // head 1: distance 0
    const options = { tau: true, starts: false };
    const [expected, actual] = [await attend(oracle, host, options), await attend(tested, host, options)];
    for (const [result, values] of Object.entries(expected)) {
      for (let i = 0; i < values.length; i++) expect(actual[result][i], `${result}[${i}]`).toBeCloseTo(values[i], 4);
    }
    const one = (shape: number[], value: number) => tested.full(shape, value);
    const { output } = tested.attention(one([1, 1, 1, 4], 1), one([1, 1, 1, 4], 1), one([1, 1, 1, 4], 1), {
      bias: one([1, 1], Number.NEGATIVE_INFINITY),
    });
    expect([...(await output.data())]).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  });

  it('weighs scores beyond 1e30 rightly, of either sign', async () => {
    for (const size of [1e16, -1e16]) {
      const host = inputs();
      host.q.fill(size);
      for (let i = 0; i < host.k.length; i++) host.k[i] = 1e15 * (1 + (Math.floor(i / (Hkv * D)) % S));
      const options = { tau: true, starts: true };
      const [expected, actual] = [await attend(oracle, host, options), await attend(tested, host, options)];
      for (const result of ['output', 'weights']) {
        for (let i = 0; i < expected[result].length; i++) {
          expect(actual[result][i], `${result}[${i}]`).toBeCloseTo(expected[result][i], 5);
        }
      }
    }
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('keeps a gradient norm of %s', async (norm) => {
    const [param, grad, m, v] = [1, 1, 0, 0].map((value) => tested.full([3], value));
    tested.adamw([{ param, grad, m, v, weightDecay: 0 }], {
      learningRate: 0.1,
      step: 1,
      clip: { normSquared: tested.full([], norm), maxNorm: 1 },
    });
    const expected = Number.isNaN(norm) ? Number.NaN : 1;
    expect([...(await param.data())]).toEqual([expected, expected, expected]);
  });

  it('leaves ignored rows out of the loss, whatever their logits are', async () => {
    const bad = [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const logits = tested.tensor(Float32Array.of(1, 2, 3, ...bad, 0, Number.NEGATIVE_INFINITY, 0), [3, 3]);
    const targets = tested.tensor(Int32Array.of(2, -100, 0), [3]);
    const { loss, lse } = tested.crossEntropy(logits, targets);
    expect((await loss.data())[0]).toBeCloseTo((Math.log(1 + Math.exp(-1) + Math.exp(-2)) + Math.log(2)) / 2, 5);
    const dlogits = await tested.crossEntropyGrad(tested.full([], 1), logits, targets, lse).data();
    expect([...dlogits.slice(3, 6)]).toEqual([0, 0, 0]);
    expect([...dlogits].every(Number.isFinite)).toBe(true);
  });
});
