import { BackendUnavailableError } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { INSTRUCTION_SETS } from '../src/index.ts';
import { cpu, random } from './helpers.ts';

// [m, n, k]: less than a tile, whole tiles, rests of all three, longer sums than are packed at a time, more panels than a task takes.
const SIZES = [
  [1, 5, 7],
  [64, 32, 64],
  [40, 70, 100],
  [150, 33, 2500],
  [33, 1100, 64],
  [1100, 33, 65],
] as const;
const LAYOUTS = [0, 1, 2, 3].map((i) => ({ transposeA: (i & 1) !== 0, transposeB: (i & 2) !== 0 }));

/** Products of every size and layout, plain and accumulated; null where the instruction set does not run here. */
async function products(isa: string): Promise<Float32Array[] | null> {
  const backend = await cpu({ isa }).catch((error: unknown) => {
    if (error instanceof BackendUnavailableError) return null;
    throw error;
  });
  if (backend === null) return null;
  const found: Float32Array[] = [];
  for (const [m, n, k] of SIZES) {
    for (const { transposeA, transposeB } of LAYOUTS) {
      const results = backend.scope(() => {
        const brain = (shape: readonly number[], seed: number) => backend.cast(random(backend, shape, seed), 'bf16');
        const a = brain(transposeA ? [k, m] : [m, k], 1);
        const b = brain(transposeB ? [n, k] : [k, n], 2);
        const accumulate = brain([m, n], 3);
        const plain = backend.matmul(a, b, { transposeA, transposeB });
        return [plain, backend.matmul(a, b, { transposeA, transposeB, accumulate })];
      });
      for (const result of results) {
        found.push((await result.data()) as Float32Array);
        result.dispose();
      }
    }
  }
  await backend.dispose();
  return found;
}

describe('products of bf16', async () => {
  const portable = (await products('portable')) as Float32Array[];
  for (const isa of INSTRUCTION_SETS.filter((name) => name !== 'portable')) {
    test(`${isa}: the bits of plain vectors`, async (context) => {
      const own = await products(isa);
      if (own === null) return context.skip('an instruction set that this machine lacks');
      // AVX512-BF16 adds in another order: a last bit of bf16, or two of a sum that cancels.
      const allowed = isa === 'avx512bf16' ? 2 ** -7 : 0;
      const far = own.flatMap((values, i) => [
        // As it stands, and not its opposite: what is no number is far.
        ...values.filter((x, j) => !(Math.abs(x - portable[i][j]) <= allowed * Math.max(1, Math.abs(x)))),
      ]);
      expect(far).toEqual([]);
    });
  }
});

test('what is not a number stays none', async () => {
  const backend = await cpu();
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const a = backend.cast(
      backend.tensor(
        Float32Array.from({ length: 80 }, (_, i) => (i === 41 ? bad : 1)),
        [2, 40],
      ),
      'bf16',
    );
    const b = backend.cast(backend.tensor(new Float32Array(40).fill(0), [40, 1]), 'bf16');
    const product = backend.matmul(a, b);
    expect([...(await product.data())]).toEqual([0, Number.NaN]);
    for (const tensor of [a, b, product]) tensor.dispose();
  }
  await backend.dispose();
});
