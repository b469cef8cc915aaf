import { type Backend, BackendUnavailableError, type Tensor } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { INSTRUCTION_SETS } from '../src/index.ts';
import { cpu, random, values } from './helpers.ts';

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

/** null where the instruction set does not run here. */
function running(isa: string): Promise<Backend | null> {
  return cpu({ isa }).catch((error: unknown) => {
    if (error instanceof BackendUnavailableError) return null;
    throw error;
  });
}

/** Products of every size and layout, plain and accumulated; null where the instruction set does not run here. */
async function products(isa: string): Promise<Float32Array[] | null> {
  const backend = await running(isa);
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

/** Attention of bf16 that ends within a block of rows, a step of keys and one of dimensions, and beside what is learned. */
const PROBLEMS = [
  { length: 5, heads: 2, kvHeads: 1, dim: 8, bias: true, tau: true },
  { length: 33, heads: 2, kvHeads: 2, dim: 64, bias: false, tau: false },
  { length: 100, heads: 4, kvHeads: 2, dim: 80, bias: true, tau: true, sink: true, starts: true },
  { length: 300, heads: 2, kvHeads: 1, dim: 32, bias: true, tau: false, starts: true },
  { length: 129, heads: 1, kvHeads: 1, dim: 100, bias: false, tau: true, sink: true },
  { length: 1, keys: 70, heads: 4, kvHeads: 2, dim: 64, bias: true, tau: true },
  { length: 3, keys: 1000, heads: 6, kvHeads: 2, dim: 20, bias: true, tau: false, sink: true },
] as const;

interface Given {
  length: number;
  keys?: number;
  heads: number;
  kvHeads: number;
  dim: number;
  bias: boolean;
  tau: boolean;
  sink?: boolean;
  starts?: boolean;
}

/** In bf16 and in f32 of the same numbers: the output, kept for the backward pass and not, and the gradients. */
function launched(backend: Backend, x: Given): Record<string, Tensor | undefined>[] {
  const { length, keys = length, heads, kvHeads, dim } = x;
  const made = (shape: readonly number[], seed: number) => {
    const narrow = backend.cast(random(backend, shape, seed), 'bf16');
    return [narrow, backend.cast(narrow, 'f32')] as const;
  };
  const [k, v] = [2, 3].map((seed) => made([2, keys, kvHeads, dim], seed));
  const [q, dout] = [1, 4].map((seed) => made([2, length, heads, dim], seed));
  const starts = Int32Array.from({ length: 2 * length }, (_, i) => Math.floor((i % length) / 45) * 45);
  const options = {
    ...(x.bias && { bias: random(backend, [heads, 40], 5) }),
    ...(x.tau && { tau: backend.full([heads], -0.4) }),
    ...(x.sink && { sink: random(backend, [heads], 6) }),
    ...(x.starts && { starts: backend.tensor(starts, [2, length]) }),
  };
  return [0, 1].map((i) => {
    const inference = backend.attention(q[i], k[i], v[i], { ...options, save: false }).output;
    if (keys !== length) return { inference };
    const { output, saved } = backend.attention(q[i], k[i], v[i], { ...options, save: true });
    const gradients = backend.attentionGrad(dout[i], saved);
    saved.dispose();
    return { inference, output, ...gradients };
  });
}

async function attended(backend: Backend, x: Given): Promise<Record<string, Float32Array>[]> {
  const found: Record<string, Float32Array>[] = [];
  for (const tensors of backend.scope(() => launched(backend, x))) {
    const read: Record<string, Float32Array> = {};
    for (const [name, tensor] of Object.entries(tensors)) {
      if (tensor === undefined) continue;
      read[name] = (await tensor.data()) as Float32Array;
      tensor.dispose();
    }
    found.push(read);
  }
  return found;
}

function relative(actual: Float32Array, expected: Float32Array): number {
  const norm = (x: Float32Array) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
  return norm(actual.map((value, i) => value - expected[i])) / norm(expected);
}

describe('attention of bf16', () => {
  for (const isa of INSTRUCTION_SETS) {
    test(`${isa}: that of f32 to the digits of bf16`, async (context) => {
      const backend = await running(isa);
      if (backend === null) return context.skip('an instruction set that this machine lacks');
      for (const problem of PROBLEMS) {
        const [narrow, wide] = await attended(backend, problem);
        for (const [name, values] of Object.entries(wide)) {
          const what = `${name} of ${JSON.stringify(problem)}`;
          expect(relative(narrow[name], values), what).toBeLessThan(name.startsWith('d') ? 8e-3 : 4e-3);
        }
      }
      await backend.dispose();
    }, 120_000);
  }

  test('emulated tiles have the bits of AMX', async (context) => {
    const [amx, emulated] = [await running('amx'), await running('emulated')];
    if (amx === null || emulated === null) return context.skip('a machine without AMX');
    for (const problem of PROBLEMS) {
      const [own] = await attended(amx, problem);
      const [other] = await attended(emulated, problem);
      for (const [name, values] of Object.entries(own)) {
        const at = values.findIndex((value, i) => !Object.is(value, other[name][i]));
        expect(at, `${name} of ${JSON.stringify(problem)}`).toBe(-1);
      }
    }
    await Promise.all([amx.dispose(), emulated.dispose()]);
  }, 120_000);

  for (const isa of ['auto', 'emulated']) {
    test(`what is not a number comes out as none (${isa})`, async () => {
      const backend = await cpu({ isa });
      const shape = [1, 70, 1, 32];
      const tau = backend.full([1], -1);
      for (const [where, bad] of [
        [0, Number.NaN],
        [1, Number.NaN],
        [2, Number.NaN],
        [0, Number.POSITIVE_INFINITY],
        [2, Number.POSITIVE_INFINITY],
      ] as const) {
        const operands = [1, 2, 3].map((seed, i) => {
          const data = values(70 * 32, seed);
          if (i === where) data[40 * 32 + 5] = bad;
          return backend.cast(backend.tensor(data, shape), 'bf16');
        });
        const { output } = backend.attention(operands[0], operands[1], operands[2], { tau, save: false });
        const out = (await output.data()) as Float32Array;
        const rows = (row: number) => [...out.subarray(row * 32, row * 32 + 32)];
        // Of q its own row, of k and v the later rows that attend it, v where it weighs something.
        const lost = where === 0 ? [40] : where === 1 ? [40, 41, 69] : [40];
        for (const row of lost) expect(rows(row).every(Number.isFinite), `${where} ${bad} row ${row}`).toBe(false);
        expect(rows(5).every(Number.isFinite)).toBe(true);
      }
      const masked = backend.full([1, 80], Number.NEGATIVE_INFINITY);
      const [q, k, v] = [1, 2, 3].map((seed) => backend.cast(random(backend, shape, seed), 'bf16'));
      const { output } = backend.attention(q, k, v, { bias: masked, save: false });
      expect([...((await output.data()) as Float32Array)].every(Number.isNaN)).toBe(true);
      await backend.dispose();
    });
  }
});
