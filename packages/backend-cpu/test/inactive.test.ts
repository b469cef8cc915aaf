import { type Backend, BackendUnavailableError, createBackend, type Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSTRUCTION_SETS } from '../src/index.ts';
import { cpu, values } from './helpers.ts';

// The dense passes leave out the products of tiles that hold no weight (cpp/kernels/attention_active.h). A tile that is left
// out wrongly is a weight that is lost, so each of these cases has weights where a tile, a group of rows or a block ends.

interface Problem {
  batch: number;
  length: number;
  heads: number;
  kvHeads: number;
  dim: number;
  window: number;
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
  bias: Float32Array;
  tau: Float32Array;
  starts: Int32Array | null;
}

function problem(sizes: Partial<Problem>): Problem {
  const z = { batch: 1, length: 300, heads: 2, kvHeads: 2, dim: 8, window: 300, ...sizes };
  const [query, key] = [z.heads, z.kvHeads].map((heads) => z.batch * z.length * heads * z.dim);
  return {
    q: values(query, 1),
    k: values(key, 2),
    v: values(key, 3),
    bias: new Float32Array(z.heads * z.window),
    tau: new Float32Array(z.heads).fill(-1),
    starts: null,
    ...z,
  };
}

async function evaluate(backend: Backend, x: Problem): Promise<Record<string, Float32Array>> {
  const [queryShape, keyShape] = [x.heads, x.kvHeads].map((heads) => [x.batch, x.length, heads, x.dim]);
  const make = (data: Float32Array | Int32Array, shape: readonly number[]): Tensor => backend.tensor(data, shape);
  const [q, k, v] = [make(x.q, queryShape), make(x.k, keyShape), make(x.v, keyShape)];
  const options = {
    bias: make(x.bias, [x.heads, x.window]),
    tau: make(x.tau, [x.heads]),
    ...(x.starts === null ? {} : { starts: make(x.starts, [x.batch, x.length]) }),
  };
  const inference = backend.attention(q, k, v, { ...options, save: false }).output;
  const { output, saved } = backend.attention(q, k, v, { ...options, save: true });
  const grads = backend.attentionGrad(make(values(x.q.length, 4), queryShape), saved);
  const results: Record<string, Float32Array> = {};
  for (const [name, tensor] of Object.entries({ inference, output, ...grads })) {
    if (tensor !== undefined) results[name] = (await tensor.data()) as Float32Array;
  }
  return results;
}

function relativeError(actual: Float32Array, expected: Float32Array): number {
  const norm = (x: Float32Array) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
  const difference = norm(actual.map((value, i) => value - expected[i]));
  return difference === 0 ? 0 : difference / norm(expected);
}

/** Distances beyond `radius` get so low a score that their weight is zero. */
function local(x: Problem, radius: number): Problem {
  return { ...x, bias: x.bias.map((_, i) => (i % x.window > radius ? -50 : 0)) };
}

/** Head h has one active weight in all: row rows[h] for key keys[h]. Everywhere else p = 1 / n or less, and tau is -2. */
function single(rows: number[], keys: number[]): Problem {
  const x = problem({ heads: rows.length, kvHeads: rows.length, tau: new Float32Array(rows.length).fill(-2) });
  x.q.fill(0);
  x.k.fill(0);
  const at = (position: number, h: number) => (position * x.heads + h) * x.dim;
  rows.forEach((row, h) => {
    x.q[at(row, h)] = 3;
    x.k[at(keys[h], h)] = 3;
  });
  return x;
}

const edges = [0, 1, 5, 6, 7, 8, 11, 12, 15, 16, 17, 31, 32, 33, 63, 64, 255, 256, 257, 287, 288];
const documents = Int32Array.from({ length: 2 * 300 }, (_, i) => Math.floor((i % 300) / 77) * 77);
const cases: Record<string, Problem> = {
  'a local head': local(problem({}), 20),
  'a local head, grouped queries, odd sizes, batch': local(
    problem({ batch: 2, length: 203, heads: 4, kvHeads: 2, dim: 20, window: 203 }),
    37,
  ),
  'a head that sees its own token alone': local(problem({}), 0),
  'a local head within documents': local(problem({ batch: 2, starts: documents }), 9),
  'a local head of one thousand tokens': local(problem({ length: 1000, heads: 1, kvHeads: 1, window: 1000 }), 130),
  'one weight, for the last row, at the edges of tiles': single(
    edges.map(() => 299),
    edges,
  ),
  'one weight, for rows at the edges of tiles': single(
    edges.filter((row) => row > 5),
    edges.filter((row) => row > 5).map(() => 3),
  ),
  'one weight, on the diagonal': single(
    edges.filter((row) => row > 5),
    edges.filter((row) => row > 5),
  ),
  'no weight at all': { ...problem({}), tau: new Float32Array(2).fill(-1e4) },
  'softmax whose far weights underflow': {
    ...local(problem({}), 20),
    bias: local(problem({}), 20).bias.map((b) => 4 * b),
    tau: new Float32Array(2),
  },
  'weights that are all positive': { ...local(problem({}), 20), tau: Float32Array.of(1, -1) },
};

let reference: Backend;
beforeAll(async () => {
  reference = await createBackend('reference');
});
afterAll(() => reference.dispose());

for (const isa of INSTRUCTION_SETS) {
  const reason = await whyNot(isa);
  if (reason === null) describe(isa, () => inactiveTiles(isa));
  else test(`inactive tiles on ${isa}`, (context) => context.skip(reason));
}

function inactiveTiles(isa: string): void {
  let backend: Backend;
  beforeAll(async () => {
    backend = await cpu({ isa });
  });
  afterAll(() => backend.dispose());

  test.each(Object.entries(cases))('%s', async (_, x) => {
    const [actual, expected] = [await evaluate(backend, x), await evaluate(reference, x)];
    for (const [name, wanted] of Object.entries(expected)) {
      // At tau = 0 a weight that underflows in f32 is inactive, which in float64 it is not; only dtau sees the difference.
      if (name === 'dtau' && x.tau.includes(0)) continue;
      const tolerance = name === 'output' || name === 'inference' ? 2e-5 : 1e-4;
      expect(relativeError(actual[name], wanted), name).toBeLessThanOrEqual(tolerance);
    }
  });

  test('values behind tiles without a weight are not read, and a NaN in a score is not lost', async () => {
    const x = local(problem({}), 20);
    const row = x.heads * x.dim;
    const clean = await evaluate(backend, x);
    const { output } = await evaluate(backend, { ...x, v: x.v.slice().fill(Number.NaN, 0, 64 * row) });
    expect(output.subarray(160 * row)).toEqual(clean.output.subarray(160 * row));
    expect(output.subarray(0, 64 * row).every(Number.isNaN)).toBe(true);
    const q = x.q.slice();
    q[170 * row] = Number.NaN;
    const spoiled = (await evaluate(backend, { ...x, q })).output;
    expect(spoiled.subarray(170 * row, 170 * row + x.dim).every(Number.isNaN)).toBe(true);
  });

  // In key 5, most rows that attend it have it in a tile without a weight; spec §Not a number.
  test.each(['q', 'k', 'bias', 'tau'] as const)('no result hides what is not a number in %s', async (name) => {
    const x = local(problem({}), 20);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const spoilt = {
        ...x,
        [name]: x[name].slice().fill(bad, name === 'tau' ? 1 : 5 * x.dim, name === 'tau' ? 2 : 5 * x.dim + 1),
      };
      const [actual, expected] = [await evaluate(backend, spoilt), await evaluate(reference, spoilt)];
      for (const [result, wanted] of Object.entries(expected)) {
        const hidden = wanted.filter((value, i) => Number.isNaN(value) && !Number.isNaN(actual[result][i]));
        expect(hidden.length, `${bad} in ${name}: ${result}`).toBe(0);
      }
    }
  });

  test('scores beyond what the exponential takes, down to where float has no fractions, weigh nothing', async () => {
    const x = local(problem({}), 20);
    const far = { ...x, bias: x.bias.map((bias) => (bias < 0 ? -8.7e6 : bias)) };
    const [actual, expected] = [await evaluate(backend, far), await evaluate(reference, far)];
    for (const name of ['output', 'inference']) expect(relativeError(actual[name], expected[name])).toBeLessThan(2e-5);
  });
}

async function whyNot(isa: string): Promise<string | null> {
  try {
    await (await cpu({ isa })).dispose();
    return null;
  } catch (error) {
    if (error instanceof BackendUnavailableError && error.reason.includes('instruction set')) return error.reason;
    throw error;
  }
}
