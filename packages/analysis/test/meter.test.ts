import type { AttentionOptions, Backend, Tensor } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { type AttentionSummary, createAttentionMeter, type MeterOptions, observe } from '../src/index.ts';
import { noise, useBackend } from './helpers.ts';
import { denseHeads, denseInactiveTiles, denseMetrics, denseValueNormRatio } from './oracle.ts';

const backendOf = useBackend();

interface Case {
  readonly batch: number;
  readonly rows: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly starts?: readonly number[];
  readonly bias?: ArrayLike<number>;
  readonly tau?: readonly number[];
  readonly q?: Float32Array;
  readonly k?: Float32Array;
  readonly v?: Float32Array;
}

const D = 4;

/** Runs one attention through a meter; disposes what it makes. */
async function measure(backend: Backend, shape: Case, options: MeterOptions = {}): Promise<AttentionSummary> {
  const made: Tensor[] = [];
  const { batch, rows, keys, heads, kvHeads } = shape;
  const tensor = (data: ArrayLike<number>, sizes: readonly number[]) => {
    const x = backend.tensor(Float32Array.from(data), sizes);
    made.push(x);
    return x;
  };
  const q = tensor(shape.q ?? noise(batch * rows * heads * D, 1).map((x) => 3 * x), [batch, rows, heads, D]);
  const k = tensor(shape.k ?? noise(batch * keys * kvHeads * D, 2), [batch, keys, kvHeads, D]);
  const values = shape.v ?? noise(batch * keys * kvHeads * D, 3);
  const v = tensor(values, [batch, keys, kvHeads, D]);
  const starts = shape.starts === undefined ? undefined : backend.tensor(Int32Array.from(shape.starts), [batch, rows]);
  if (starts !== undefined) made.push(starts);
  const attention: AttentionOptions = {
    starts,
    bias: shape.bias === undefined ? undefined : tensor(shape.bias, [heads, shape.bias.length / heads]),
    tau: shape.tau === undefined ? undefined : tensor(shape.tau, [heads]),
    save: false,
  };
  const meter = createAttentionMeter(backend, options);
  const { output, saved } = observe(backend, meter).attention(q, k, v, attention);
  output.dispose();
  saved.dispose();
  const weights = backend.attentionWeights(q, k, { starts, bias: attention.bias, tau: attention.tau });
  for (const x of made) x.dispose(); // the meter has views of its own
  const dense = await weights.data();
  weights.dispose();
  await meter.flush();
  const summary = meter.summary();
  expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);

  for (const head of summary.layers[0].heads) {
    const sequences = denseHeads(dense, weights.shape, head.head, shape.starts);
    const expected = denseMetrics(sequences, shape.tau?.[head.head] ?? 0);
    expect(head.strongestPosition).toBe(expected.strongestPosition);
    const kv = Math.floor((head.head * kvHeads) / heads);
    const tokens = Array.from({ length: batch * keys }, (_, n) => {
      const [b, key] = [Math.floor(n / keys), n % keys];
      const start = shape.starts?.[b * rows + Math.max(0, key - (keys - rows))] ?? 0;
      return [key - start, Array.from(values.subarray((n * kvHeads + kv) * D, (n * kvHeads + kv + 1) * D))] as const;
    });
    const ratio = denseValueNormRatio(tokens, expected.strongestPosition);
    expect(Math.abs(head.valueNormRatio - ratio), 'valueNormRatio').toBeLessThanOrEqual(1e-6);
    const compared = [
      'sparsity',
      'rowMass',
      'emptyRows',
      'entropy',
      'survivingMass',
      'strongestPositionWeight',
    ] as const;
    for (const key of compared) {
      expect(Math.abs(head[key] - expected[key]), key).toBeLessThanOrEqual(1e-6);
    }
    for (const key of ['positionWeights', 'positionWeightsNormalised'] as const) {
      expected[key].forEach((value, position) => {
        expect(Math.abs((head[key][position] ?? 0) - value), `${key} ${position}`).toBeLessThanOrEqual(1e-6);
      });
    }
    for (const size of options.tiles ?? [16, 32, 64, 128]) {
      expect(head.inactiveTiles[size], `tiles of ${size}`).toBe(denseInactiveTiles(sequences, size));
    }
  }
  return summary;
}

describe('streamed metrics equal the dense ones', () => {
  const shapes: Record<string, Case> = {
    causal: { batch: 2, rows: 150, keys: 150, heads: 2, kvHeads: 2, tau: [-1, -0.5] },
    grouped_heads_and_bias: {
      batch: 1,
      rows: 70,
      keys: 70,
      heads: 4,
      kvHeads: 2,
      bias: noise(4 * 9, 5),
      tau: [-1, -2, 0, 0.5],
    },
    fewer_queries_than_keys: { batch: 2, rows: 37, keys: 101, heads: 2, kvHeads: 1, tau: [-1, -4] },
    packed_documents: {
      batch: 2,
      rows: 60,
      keys: 60,
      heads: 2,
      kvHeads: 2,
      tau: [-1, -1.5],
      starts: Array.from({ length: 120 }, (_, n) => (n < 60 ? Math.floor(n / 23) * 23 : n - 60 < 41 ? 0 : 41)),
    },
    sliding_window: {
      batch: 1,
      rows: 90,
      keys: 90,
      heads: 1,
      kvHeads: 1,
      tau: [-2],
      starts: Array.from({ length: 90 }, (_, r) => Math.max(0, r - 20)),
    },
    softmax: { batch: 1, rows: 33, keys: 33, heads: 2, kvHeads: 2 },
    one_token: { batch: 1, rows: 1, keys: 1, heads: 1, kvHeads: 1, tau: [-1] },
  };
  for (const [name, shape] of Object.entries(shapes)) {
    for (const chunkBytes of [1, 20_000, 2 ** 24]) {
      test(`${name}, ${chunkBytes} bytes at a time`, async () => {
        await measure(backendOf(), shape, { chunkBytes, tiles: [2, 5, 16, 64] });
      });
    }
  }
});

describe('constructed cases', () => {
  const rows = 64;
  /** Scores of head 0 are 40 on key 0 and 0 elsewhere; those of head 1 are equal. */
  const sink: Case = {
    batch: 1,
    rows,
    keys: rows,
    heads: 2,
    kvHeads: 2,
    q: Float32Array.from({ length: rows * 2 * D }, (_, n) => (Math.floor(n / D) % 2 === 0 ? 2 : 0)),
    k: Float32Array.from({ length: rows * 2 * D }, (_, n) => (n < D ? 10 : 0)),
  };

  test('a hand-made sink head is a sink at every threshold', async () => {
    const { overall, layers } = await measure(backendOf(), sink);
    expect(layers[0].heads[0].firstTokenWeight).toBeCloseTo(1, 6);
    expect(layers[0].heads[1].firstTokenWeight).toBeLessThan(0.1);
    expect(overall.sinkRate).toEqual({ '0.1': 0.5, '0.2': 0.5, '0.3': 0.5, '0.4': 0.5, '0.5': 0.5 });
    const alone = await measure(backendOf(), {
      ...sink,
      heads: 1,
      kvHeads: 1,
      q: new Float32Array(rows * D).fill(2),
      k: Float32Array.from({ length: rows * D }, (_, n) => (n < D ? 10 : 0)),
    });
    expect(alone.overall.sinkRate['0.3']).toBe(1);
    expect(alone.overall.entropyNormalised).toBeCloseTo(0, 6);
  });

  test('a sink that is not the first token is found where it is, with its drained value', async () => {
    // Key 5 is the sink; its value is a tenth of the others'.
    const k = Float32Array.from({ length: rows * 2 * D }, (_, n) => (Math.floor(n / 2 / D) === 5 ? 10 : 0));
    const v = Float32Array.from({ length: rows * 2 * D }, (_, n) => (Math.floor(n / 2 / D) === 5 ? 0.1 : 1));
    const { layers, overall } = await measure(backendOf(), { ...sink, k, v });
    const [head, uniform] = layers[0].heads;
    expect(head.strongestPosition).toBe(5);
    expect(head.strongestPositionWeight).toBeCloseTo(1, 6);
    expect(head.valueNormRatio).toBeCloseTo((0.1 * rows) / (rows - 1 + 0.1), 6);
    expect(head.firstTokenWeight).toBeLessThan(0.2);
    expect(uniform.strongestPosition).toBe(0);
    expect(overall.sinkRate['0.3']).toBe(0);
    expect(overall.sinkRateAnywhere['0.3']).toBe(0.5);
    expect(overall.sinkRateNormalised['0.3']).toBe(0);
  });

  test('what survives the cut is counted as softmax gave it', async () => {
    // Equal scores: p = 1/n, and w = (1 - 0.5) / n survives everywhere; tau = -1 cuts all.
    const equal = { ...sink, q: new Float32Array(rows * 2 * D), tau: [-0.5, -1] };
    const { layers } = await measure(backendOf(), equal);
    expect(layers[0].heads[0].survivingMass).toBeCloseTo(1, 6);
    expect(layers[0].heads[0].rowMass).toBeCloseTo(0.5, 6);
    expect(layers[0].heads[1].survivingMass).toBe(0);
  });

  test('every document has its own first token', async () => {
    const starts = Array.from({ length: rows }, (_, r) => (r < 32 ? 0 : 32));
    const k = new Float32Array(rows * 2 * D);
    for (const key of [0, 32]) k.fill(10, key * 2 * D, key * 2 * D + D);
    const { layers } = await measure(backendOf(), { ...sink, k, starts });
    expect(layers[0].heads[0].firstTokenWeight).toBeCloseTo(1, 6);
  });

  test('uniform attention has maximal entropy', async () => {
    const { layers } = await measure(backendOf(), { ...sink, q: new Float32Array(rows * 2 * D) });
    expect(layers[0].heads[0].entropyNormalised).toBeCloseTo(1, 6);
    const expected = Array.from({ length: rows }, (_, r) => Math.log(r + 1)).reduce((a, b) => a + b) / rows;
    expect(layers[0].heads[0].entropy).toBeCloseTo(expected, 6);
    expect(layers[0].heads[0].rowMass).toBeCloseTo(1, 6);
  });

  test('tau = -1 with equal scores gives nothing but zeros', async () => {
    const shape = { ...sink, q: new Float32Array(rows * 2 * D), tau: [-1, -1] };
    const { overall } = await measure(backendOf(), shape);
    expect(overall.sparsity).toBe(1);
    expect(overall.inactiveTiles).toEqual({ 16: 1, 32: 1, 64: 1, 128: 1 });
    expect(overall).toMatchObject({ emptyRows: 1, rowMass: 0, firstTokenWeight: 0, entropy: 0 });
  });
});

test('batches add up: two passes equal one pass over both', async () => {
  const backend = backendOf();
  const data = noise(2 * 20 * D, 9);
  const run = async (parts: readonly Float32Array[]) => {
    const meter = createAttentionMeter(backend);
    for (const part of parts) {
      const x = backend.tensor(part, [part.length / 20 / D, 20, 1, D]);
      const tau = backend.full([1], -1);
      const { output, saved } = observe(backend, meter).attention(x, x, x, { tau, save: false });
      await meter.flush();
      for (const tensor of [output, saved, x, tau]) tensor.dispose();
    }
    return meter.summary();
  };
  const once = await run([data]);
  const twice = await run([data.slice(0, 20 * D), data.slice(20 * D)]);
  expect(twice).toEqual(once);
  expect(twice).toMatchObject({ sequences: 2, tokens: 40 });
});

test('keeps maps, bias and tau of what it saw', async () => {
  const { maps, layers } = await measure(
    backendOf(),
    { batch: 2, rows: 12, keys: 12, heads: 2, kvHeads: 2, bias: [1, 2, 3, 4], tau: [-1, -2] },
    { maps: { length: 5, heads: [1] }, chunkBytes: 600 },
  );
  expect(maps).toHaveLength(1);
  expect(maps[0]).toMatchObject({ layer: 0, head: 1 });
  expect(maps[0].weights.map((row) => row.length)).toEqual([1, 2, 3, 4, 5]);
  expect(layers[0].heads.map(({ tau, bias }) => ({ tau, bias }))).toEqual([
    { tau: -1, bias: [1, 2] },
    { tau: -2, bias: [3, 4] },
  ]);
});

test('a weight that is not a number is an error, and nothing stays behind', async () => {
  const shape: Case = { batch: 1, rows: 4, keys: 4, heads: 1, kvHeads: 1, q: new Float32Array(16).fill(Number.NaN) };
  await expect(measure(backendOf(), shape)).rejects.toMatchObject({ code: 'NOT_FINITE' });
  expect(backendOf().memory().tensors).toBe(0);
});

test('an empty summary and wrong options are refused', () => {
  const backend = backendOf();
  expect(() => createAttentionMeter(backend).summary()).toThrow(/nothing was measured/);
  expect(() => createAttentionMeter(backend, { positions: 0 })).toThrow(/positions is 0/);
  expect(() => createAttentionMeter(backend, { tiles: [1.5] })).toThrow(/tiles is 1.5/);
  expect(() => createAttentionMeter(backend, { epsilons: [Number.NaN] })).toThrow(/epsilons/);
  expect(() => createAttentionMeter(backend, { epsilon: [0.3] } as never)).toThrow(/unknown option 'epsilon'/);
});
