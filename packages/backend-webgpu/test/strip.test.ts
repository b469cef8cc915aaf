import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { STRIP_BYTES, type StripBlock, stripBlocks } from '../src/ops/attention/blocks.ts';
import { hasF16, openWith, unavailable } from './support.ts';

const base = {
  batch: 1,
  heads: 1,
  kvHeads: 1,
  queryLength: 64,
  keyLength: 64,
  keyCapacity: 64,
  headDim: 16,
  window: 0,
};
const scoresOf = ({ headCount, rowCount, width }: StripBlock): number => headCount * rowCount * width;

describe('blocks of strips', () => {
  test('a problem that fits is one block', () => {
    expect(stripBlocks({ ...base, batch: 8, heads: 4, queryLength: 128, keyLength: 130 }, STRIP_BYTES / 4)).toEqual([
      { firstHead: 0, headCount: 32, groupHeads: 4, blockRow: 0, rowCount: 128, width: 132, firstOfKeys: true },
    ]);
  });

  test('whole kv heads first: with their query heads, and what is left over last', () => {
    const sizes = { ...base, batch: 3, heads: 6, kvHeads: 3 };
    const blocks = stripBlocks(sizes, 5 * 64 * 64);
    expect(blocks.map(({ firstHead, headCount }) => [firstHead, headCount])).toEqual([
      [0, 4],
      [4, 4],
      [8, 4],
      [12, 4],
      [16, 2],
    ]);
    expect(blocks.every(({ firstOfKeys, groupHeads }) => firstOfKeys && groupHeads === 2)).toBe(true);
  });

  test('then row blocks in groups of 64, each as wide as its last row attends', () => {
    const blocks = stripBlocks({ ...base, queryLength: 150, keyLength: 203 }, 128 * 204);
    expect(
      blocks.map(({ blockRow, rowCount, width, firstOfKeys }) => [blockRow, rowCount, width, firstOfKeys]),
    ).toEqual([
      [0, 128, 192, true],
      [128, 22, 204, false],
    ]);
  });

  test('then some query heads of a kv head, so that 64 rows fit', () => {
    const blocks = stripBlocks({ ...base, heads: 6, queryLength: 128, keyLength: 128 }, 3 * 64 * 128);
    expect(
      blocks.map(({ firstHead, headCount, blockRow, firstOfKeys }) => [firstHead, headCount, blockRow, firstOfKeys]),
    ).toEqual([
      [0, 3, 0, true],
      [0, 3, 64, false],
      [3, 3, 0, false],
      [3, 3, 64, false],
    ]);
    expect(stripBlocks({ ...base, heads: 6, queryLength: 128, keyLength: 128 }, 1)).toHaveLength(12);
  });

  test('every row of every head is in one block, within the budget', () => {
    for (const [batch, heads, kvHeads, queryLength, keyLength] of [
      [2, 8, 2, 700, 700],
      [1, 12, 1, 65, 5000],
      [5, 3, 3, 1, 9],
      [1, 1, 1, 4097, 8192],
    ]) {
      const sizes = { ...base, batch, heads, kvHeads, queryLength, keyLength };
      const budget = 400_000;
      const rows = new Map<string, number>();
      for (const block of stripBlocks(sizes, budget)) {
        expect(scoresOf(block)).toBeLessThanOrEqual(Math.max(budget, 64 * (keyLength + 3)));
        expect(block.width % 4).toBe(0);
        expect(block.headCount % block.groupHeads).toBe(0);
        for (let z = 0; z < block.headCount; z++) {
          for (let r = 0; r < block.rowCount; r++) {
            const key = `${block.firstHead + z},${block.blockRow + r}`;
            rows.set(key, (rows.get(key) ?? 0) + 1);
          }
        }
      }
      expect(rows.size).toBe(batch * heads * queryLength);
      expect([...rows.values()].every((count) => count === 1)).toBe(true);
    }
  });
});

const PROBLEMS = {
  'odd sizes': {
    batch: 1,
    heads: 2,
    kvHeads: 2,
    queryLength: 150,
    keyLength: 150,
    headDim: 20,
  },
  'grouped heads': {
    batch: 2,
    heads: 4,
    kvHeads: 2,
    queryLength: 130,
    keyLength: 203,
    headDim: 16,
  },
  // Groups of rows that no longer attend a tile follow others that do, at distances that are no multiples of 64.
  'many groups': {
    batch: 2,
    heads: 1,
    kvHeads: 1,
    queryLength: 300,
    keyLength: 341,
    headDim: 16,
  },
  'wide heads': { batch: 1, heads: 2, kvHeads: 1, queryLength: 67, keyLength: 70, headDim: 132 },
};
type Problem = (typeof PROBLEMS)[keyof typeof PROBLEMS];

/** Output and gradients of a problem with documents that start in the middle of tiles, and tau of both signs. */
async function solve(
  backend: Backend,
  { batch, heads, kvHeads, queryLength, keyLength, headDim }: Problem,
): Promise<Float32Array[]> {
  let state = 1;
  const values = (count: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: count }, () => {
      state = (state * 48271) % 0x7fffffff;
      return (state / 0x7fffffff) * 2 - 1;
    });
  const tensor = (...shape: number[]) => backend.tensor(values(shape.reduce((a, b) => a * b)), shape);
  const q = tensor(batch, queryLength, heads, headDim);
  const k = tensor(batch, keyLength, kvHeads, headDim);
  const v = tensor(batch, keyLength, kvHeads, headDim);
  const dOutput = tensor(batch, queryLength, heads, headDim);
  const bias = tensor(heads, 90);
  const tau = backend.tensor(
    Float32Array.from({ length: heads }, (_, h) => (h % 2 === 0 ? -1 : 0.5)),
    [heads],
  );
  const prefix = keyLength - queryLength;
  const first = (b: number, r: number): number => (b === 0 ? (r + prefix > 99 ? 99 : 0) : Math.max(0, r + prefix - 40));
  const starts = backend.tensor(
    Int32Array.from({ length: batch * queryLength }, (_, i) => first(Math.floor(i / queryLength), i % queryLength)),
    [batch, queryLength],
  );
  const { output, saved } = backend.attention(q, k, v, { bias, tau, starts });
  const { dq, dk, dv, dbias, dtau } = backend.attentionGrad(dOutput, saved);
  const results = [output, dq, dk, dv, dbias, dtau];
  return Promise.all(results.map(async (each) => (await each?.data()) as Float32Array));
}

/** Leaves NaN where strips will lie, so that a kernel that reads what none wrote is found out. */
function poison(backend: Backend, problem: Problem, stripBytes: number): void {
  const sizes = { ...problem, keyCapacity: problem.keyLength, window: 90 };
  const largest = Math.max(...stripBlocks(sizes, stripBytes / 4).map(scoresOf));
  const tensors = [0, 1].map(() => backend.full([largest], Number.NaN));
  for (const each of tensors) each.dispose();
}

const NAMES = ['output', 'dq', 'dk', 'dv', 'dbias', 'dtau'];

function relativeError(actual: Float32Array, expected: Float32Array): number {
  let error = 0;
  let norm = 0;
  for (const [i, value] of expected.entries()) {
    error += (actual[i] - value) ** 2;
    norm += value ** 2;
  }
  return Math.sqrt(error / norm);
}

describe.skipIf(unavailable !== null)(`strips on a device${unavailable === null ? '' : `: ${unavailable}`}`, () => {
  const expected = new Map<string, Float32Array[]>();
  beforeAll(async () => {
    const oracle = new Backend(await reference.create({}));
    for (const [name, problem] of Object.entries(PROBLEMS)) expected.set(name, await solve(oracle, problem));
    await oracle.dispose();
  });

  describe.each([
    // The kernels for GPUs run here too, though no software adapter chooses them. Each takes llvmpipe seconds to compile.
    ['kernels for GPUs', { software: false }, STRIP_BYTES, ['odd sizes', 'grouped heads']],
    ['kernels for software adapters, a block per 64 rows', { software: true }, 4, Object.keys(PROBLEMS)],
    ['kernels for software adapters, two heads at once', { software: true }, 2 * 64 * 204 * 4, ['grouped heads']],
    [
      'reductions without subgroups, one block',
      { software: true, subgroups: false },
      STRIP_BYTES,
      ['odd sizes', 'many groups'],
    ],
  ] as const)('%s', (_, capabilities, stripBytes, names) => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await openWith(capabilities, stripBytes);
    });
    afterAll(() => backend.dispose());

    test.each(names as readonly (keyof typeof PROBLEMS)[])('%s', async (name) => {
      poison(backend, PROBLEMS[name], stripBytes);
      const actual = await solve(backend, PROBLEMS[name]);
      for (const [i, values] of (expected.get(name) ?? []).entries()) {
        expect(relativeError(actual[i], values), NAMES[i]).toBeLessThan(i === 0 ? 2e-5 : 1e-4);
      }
    });
  });

  test.for([
    ['whole tiles', [128, 64, 32], false, 'f32', 2e-5],
    ['whole tiles, transposed', [128, 64, 32], true, 'f16', 1e-2],
    ['odd sizes', [130, 71, 37], false, 'f32', 2e-5],
  ] as const)('products for GPUs: %s', async ([_, [m, n, k], transposed, dtype, tolerance], context) => {
    context.skip(dtype === 'f16' && !hasF16, 'the adapter has no shader-f16');
    const backend = await openWith({ software: false }, STRIP_BYTES);
    const oracle = new Backend(await reference.create({}));
    const product = (on: Backend, type: 'f32' | 'f16'): Promise<unknown> => {
      const matrix = (rows: number, columns: number, seed: number) => {
        const shape = transposed ? [columns, rows] : [rows, columns];
        const values = Float32Array.from({ length: rows * columns }, (_value, i) => Math.sin(i * seed));
        return on.cast(on.tensor(values, shape), type);
      };
      // Added to what is there in the cases that are not transposed.
      const into = transposed ? {} : { accumulate: matrix(m, n, 2.1) };
      const options = { transposeA: transposed, transposeB: transposed, ...into };
      return on.cast(on.matmul(matrix(m, k, 0.7), matrix(k, n, 1.3), options), 'f32').data();
    };
    const actual = (await product(backend, dtype)) as Float32Array;
    expect(relativeError(actual, (await product(oracle, 'f32')) as Float32Array)).toBeLessThan(tolerance);
    await backend.dispose();
    await oracle.dispose();
  });
});
