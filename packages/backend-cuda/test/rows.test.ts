import { Backend, type Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { provider } from '../src/index.ts';

/** Relative errors that rounding to a type may leave. */
const TOLERANCE = { f32: 2e-5, bf16: 1e-2, f16: 2e-3 } as const;
const DTYPES = ['f32', 'bf16', 'f16'] as const;
type Rounded = (typeof DTYPES)[number];

/** The same numbers, near 1 in size, at every run. */
const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed) * 1.5);

// Rows of whole loads of 16 bytes that a warp and a block hold, of one more than they can, and of no whole loads.
describe('rows of every width', { timeout: 120_000 }, () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = new Backend(await provider.create({ device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' }));
  });
  afterAll(async () => {
    await backend.dispose();
  });

  const drawn = (shape: readonly number[], seed: number, dtype: Rounded) =>
    backend.cast(
      backend.tensor(
        numbers(
          shape.reduce((a, b) => a * b),
          seed,
        ),
        shape,
      ),
      dtype,
    );
  /** As numbers, as they were rounded. */
  const read = async (x: Tensor) => Float64Array.from((await backend.cast(x, 'f32').data()) as Float32Array);
  const expectNear = (actual: Float64Array, expected: Float64Array, dtype: Rounded, what: string) => {
    expect(actual.length, what).toBe(expected.length);
    const norm = (of: (i: number) => number) => Math.sqrt(expected.reduce((sum, _, i) => sum + of(i) ** 2, 0));
    const off = norm((i) => actual[i] - expected[i]) / norm((i) => expected[i]);
    expect(off, what).toBeLessThan(TOLERANCE[dtype]);
  };

  const WIDTHS = [8, 37, 40, 1000, 1024, 1032, 2051, 8192, 8200];
  test.for(DTYPES.flatMap((dtype) => WIDTHS.map((width) => ({ dtype, width }))))(
    'rmsNorm and its gradient, $dtype, $width',
    async ({ dtype, width }) => {
      const rows = width < 100 ? 300 : 3;
      const [x, dy, weight] = [
        drawn([rows, width], 1, dtype),
        drawn([rows, width], 2, dtype),
        drawn([width], 3, dtype),
      ];
      const [X, DY, W] = [await read(x), await read(dy), await read(weight)];
      const [y, dx, dweight] = [new Float64Array(X.length), new Float64Array(X.length), new Float64Array(width)];
      for (let r = 0; r < rows; r++) {
        const at = r * width;
        const mean = (of: (i: number) => number) => {
          let sum = 0;
          for (let i = at; i < at + width; i++) sum += of(i);
          return sum / width;
        };
        const inverse = 1 / Math.sqrt(mean((i) => X[i] ** 2) + 1e-5);
        const pull = mean((i) => W[i - at] * DY[i] * X[i]) * inverse ** 2;
        for (let i = at; i < at + width; i++) {
          y[i] = X[i] * inverse * W[i - at];
          dx[i] = inverse * (W[i - at] * DY[i] - X[i] * pull);
          dweight[i - at] += DY[i] * X[i] * inverse;
        }
      }
      const options = { epsilon: 1e-5 };
      expectNear(await read(backend.rmsNorm(x, weight, options)), y, dtype, 'y');
      const gradient = backend.rmsNormGrad(dy, x, weight, options);
      expectNear(await read(gradient.dx), dx, dtype, 'dx');
      expectNear(await read(gradient.dweight), dweight, dtype, 'dweight');
    },
  );

  test.for(DTYPES.flatMap((dtype) => [6, 20, 40, 48, 64, 288].map((D) => ({ dtype, D }))))(
    'rope and back, $dtype, head size $D',
    async ({ dtype, D }) => {
      const [B, L, H, offset] = [2, 5, 3, 7];
      const x = drawn([B, L, H, D], 4, dtype);
      const X = await read(x);
      const expected = Float64Array.from(X, (_, i) => {
        const d = i % D;
        const pair = d % (D / 2);
        const angle = (offset + (Math.floor(i / D / H) % L)) * 10_000 ** ((-2 * pair) / D);
        const [low, high] = [X[i - d + pair], X[i - d + pair + D / 2]];
        return d < D / 2
          ? low * Math.cos(angle) - high * Math.sin(angle)
          : low * Math.sin(angle) + high * Math.cos(angle);
      });
      const y = backend.rope(x, { base: 10_000, offset });
      expectNear(await read(y), expected, dtype, 'y');
      expectNear(await read(backend.ropeGrad(y, { base: 10_000, offset })), X, dtype, 'dx');
    },
  );

  test.for(DTYPES.flatMap((dtype) => [1000, 1003, 1004].map((vocabulary) => ({ dtype, vocabulary }))))(
    'crossEntropy and its gradient, $dtype, $vocabulary',
    async ({ dtype, vocabulary }) => {
      const logits = drawn([3, vocabulary], 5, dtype);
      const X = await read(logits);
      const targets = [4, vocabulary - 1, 500];
      const dlogits = new Float64Array(X.length);
      let loss = 0;
      for (const [r, target] of targets.entries()) {
        const row = X.subarray(r * vocabulary, (r + 1) * vocabulary);
        const lse = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
        loss += (lse - row[target]) / 3;
        row.forEach((x, i) => {
          dlogits[r * vocabulary + i] = (Math.exp(x - lse) - (i === target ? 1 : 0)) / 3;
        });
      }
      const ids = backend.tensor(Int32Array.from(targets), [3]);
      const result = backend.crossEntropy(logits, ids);
      expectNear(await read(result.loss), Float64Array.of(loss), 'f32', 'loss');
      const one = backend.full([], 1);
      expectNear(await read(backend.crossEntropyGrad(one, logits, ids, result.lse)), dlogits, dtype, 'dlogits');
    },
  );

  test.for(DTYPES.flatMap((dtype) => [33, 48].map((width) => ({ dtype, width }))))(
    'embedding, $dtype, $width',
    async ({ dtype, width }) => {
      const weight = drawn([7, width], 6, dtype);
      const W = await read(weight);
      const ids = [6, 0, 3, 3];
      const rows = ids.flatMap((id) => [...W.subarray(id * width, (id + 1) * width)]);
      const out = await read(backend.embedding(weight, backend.tensor(Int32Array.from(ids), [4])));
      expect([...out]).toEqual(rows);
    },
  );
});
