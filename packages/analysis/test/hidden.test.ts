import { describe, expect, test } from 'vitest';
import { createAttentionMeter, observe } from '../src/index.ts';
import { symmetricEigenvalues } from '../src/metrics/eigenvalues.ts';
import { effectiveRank } from '../src/metrics/hidden.ts';
import { noise, useBackend } from './helpers.ts';

const backendOf = useBackend();

describe('symmetricEigenvalues', () => {
  test('second differences have eigenvalues 2 - 2 cos(pi k / (n + 1))', () => {
    const n = 40;
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      a[i * n + i] = 2;
      if (i > 0) a[i * n + i - 1] = a[(i - 1) * n + i] = -1;
    }
    const found = symmetricEigenvalues(a, n);
    found.forEach((value, k) => {
      expect(value).toBeCloseTo(2 - 2 * Math.cos((Math.PI * (k + 1)) / (n + 1)), 12);
    });
  });

  test('dense matrices keep trace, Frobenius norm and a known spectrum', () => {
    const n = 31;
    // A = H diag(d) H with the reflection H = I - 2 u u'
    const u = noise(n, 3);
    const length = Math.hypot(...u);
    const d = Array.from({ length: n }, (_, i) => (i < 5 ? 0 : i * i - 40));
    const h = (i: number, j: number) => (i === j ? 1 : 0) - (2 * u[i] * u[j]) / length ** 2;
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) a[i * n + j] = d.reduce((sum, value, k) => sum + h(i, k) * value * h(k, j), 0);
    }
    const found = symmetricEigenvalues(a, n);
    [...d]
      .sort((x, y) => x - y)
      .forEach((value, k) => {
        expect(Math.abs(found[k] - value)).toBeLessThan(1e-9 * 1000);
      });
  });

  test('sizes 1 and 2, and a matrix that is diagonal already', () => {
    expect([...symmetricEigenvalues(Float64Array.of(7), 1)]).toEqual([7]);
    expect([...symmetricEigenvalues(Float64Array.of(2, 1, 1, 2), 2)]).toEqual([
      expect.closeTo(1, 12),
      expect.closeTo(3, 12),
    ]);
    expect([...symmetricEigenvalues(Float64Array.of(3, 0, 0, 0, 1, 0, 0, 0, 2), 3)]).toEqual([1, 2, 3]);
  });
});

test('effective rank: 1 for parallel rows, n for n orthogonal ones, also where rows outnumber columns', () => {
  const unit = (n: number, at: number) => Float64Array.from({ length: n }, (_, i) => (i === at ? 1 : 0));
  expect(effectiveRank([unit(6, 2), unit(6, 2), unit(6, 2)])).toBeCloseTo(1, 6);
  expect(effectiveRank([0, 1, 2, 3].map((at) => unit(6, at)))).toBeCloseTo(4, 9);
  expect(effectiveRank([0, 1, 2, 0, 1, 2, 0, 1, 2].map((at) => unit(3, at)))).toBeCloseTo(3, 9);
});

/** The largest activation with its position in a document: the second of each row begins at `second`. */
function peakOf(values: Float32Array, width: number, length: number, second: number) {
  const at = values.reduce((best, value, n) => (Math.abs(value) > Math.abs(values[best]) ? n : best), 0);
  const row = Math.floor(at / width) % length;
  return { position: row < second ? row : row - second, channel: at % width, value: values[at] };
}

test('cosine similarity and kurtosis equal the pair by pair ones; documents are kept apart', async () => {
  const backend = backendOf();
  const [batch, length, width] = [2, 9, 4];
  const values = noise(batch * length * width, 11);
  const starts = Int32Array.from({ length: batch * length }, (_, n) => (n % length < 5 ? 0 : 5));
  const x = backend.tensor(values, [batch, length, width]);
  const weight = backend.full([width], 1);
  const packed = backend.tensor(starts, [batch, length]);
  const meter = createAttentionMeter(backend);
  backend.scope(() => {
    const ops = observe(backend, {
      onHidden: (index, hidden, layer) => meter.onHidden(index, hidden, layer),
    });
    ops.rmsNorm(x, weight).dispose();
  });
  meter.dispose(); // the scope has freed its views; see README

  const ops = observe(backend, meter);
  const norm = ops.rmsNorm(x, weight);
  const q = backend.reshape(x, [batch, length, 1, width]);
  const { output, saved } = ops.attention(q, q, q, { starts: packed, save: false });
  const flattened = backend.reshape(x, [batch * length, width]);
  const flat = ops.rmsNorm(flattened, weight);
  for (const tensor of [norm, q, flattened, output, saved, flat]) tensor.dispose();
  await meter.flush();
  const { hidden } = meter.summary();

  const cosines: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (const [from, to] of [
      [0, 5],
      [5, 9],
    ]) {
      for (let i = from; i < to; i++) {
        for (let j = from; j < to; j++)
          if (i !== j) cosines.push(cosine(values, width, b * length + i, b * length + j));
      }
    }
  }
  const mean = (of: readonly number[]) => of.reduce((sum, value) => sum + value, 0) / of.length;
  const m = mean([...values]);
  const moment = (power: number) => mean([...values].map((value) => (value - m) ** power));
  const norm2 = (row: number) => Math.hypot(...values.subarray(row * width, (row + 1) * width));
  const expected = {
    cosineSimilarity: expect.closeTo(mean(cosines), 9),
    kurtosis: expect.closeTo(moment(4) / moment(2) ** 2, 9),
    largestActivation: Math.max(...values.map(Math.abs)),
    rankLimit: width,
    peak: peakOf(values, width, length, 5),
    firstTokenNormRatio: expect.closeTo(mean([0, 5, 9, 14].map(norm2)) / mean([...Array(18).keys()].map(norm2)), 9),
  };
  expect(hidden).toMatchObject([
    { index: 0, layer: 0, ...expected },
    { index: 1, layer: 1, ...expected },
  ]);
  for (const tensor of [x, weight, packed]) tensor.dispose();
});

test('what a model adds to the residual stream in place later is not seen at an earlier depth', async () => {
  const backend = backendOf();
  const residual = backend.tensor(noise(12, 4), [1, 3, 4]);
  const largest = Math.max(...noise(12, 4).map(Math.abs));
  const weight = backend.full([4], 1);
  const q = backend.zeros([1, 3, 1, 4]);
  const square = backend.full([4, 4], 100);
  const meter = createAttentionMeter(backend);
  const ops = observe(backend, meter);
  const norm = ops.rmsNorm(residual, weight);
  const { output, saved } = ops.attention(q, q, q, { save: false });
  ops.matmul(norm, square, { accumulate: residual });
  const later = ops.rmsNorm(residual, weight);
  await meter.flush();
  const { hidden } = meter.summary();
  expect(hidden[0].largestActivation).toBeCloseTo(largest, 6);
  expect(hidden[1].largestActivation).toBeGreaterThan(10);
  for (const x of [residual, weight, q, square, norm, output, saved, later]) x.dispose();
});

function cosine(x: Float32Array, width: number, a: number, b: number): number {
  const row = (n: number) => x.subarray(n * width, (n + 1) * width);
  const dot = row(a).reduce((sum, value, c) => sum + value * row(b)[c], 0);
  return dot / Math.hypot(...row(a)) / Math.hypot(...row(b));
}
