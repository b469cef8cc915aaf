import {
  type Backend,
  createBackend,
  type FloatDType,
  type PackedDType,
  type PackedWeights,
  packBF16,
  packEightBits,
  packFourBits,
  type Tensor,
  toBF16Bits,
  toF16Bits,
  unpackWeights,
} from '@lazy-attention/core';
import { type Case, caseName, type Tolerance } from '../case.ts';
import { assertClose, ConformanceError, type Results } from '../compare.ts';
import { assertNothingLeft, readAll } from '../evaluate.ts';
import { Generator, toTensor } from '../problem.ts';
import { seedOf } from '../random.ts';

/** [N, K] of the weights: one block; more groups of rows than streams, and none left over; a vocabulary; long sums. */
const SHAPES: readonly (readonly [number, number])[] = [
  [16, 32],
  [208, 96],
  [1040, 64],
  [80, 1536],
];
/** Rows of activations: those of decoding, which kernels take one by one, and those of prompts. */
const ROWS = [1, 2, 3, 4, 5, 37];

const TYPES: readonly PackedDType[] = ['w4', 'w8', 'w16'];

/** Products, lookups and decoding with packed weights, against the reference with the same weights as numbers. */
export function packedWeights(dtype: FloatDType, tolerance: Tolerance): Case[] {
  if (dtype !== 'f32') return [];
  return TYPES.flatMap((type) => [
    ...SHAPES.map((shape) => product(type, shape, tolerance)),
    caseOf(type, 'a_row_that_is_no_number', 'matmul', noNumber),
    caseOf(type, 'embedding', 'embedding', lookup),
  ]);
}

/** Why a backend does not run these. */
function lacks(type: PackedDType): (backend: Backend) => string | undefined {
  return (backend) =>
    backend.packedDTypes.has(type) ? undefined : `backend '${backend.name}' has no packed weights of ${type}`;
}

type Work = (backend: Backend, type: PackedDType, name: string) => Promise<void>;

function caseOf(type: PackedDType, title: string, op: 'matmul' | 'embedding', work: Work): Case {
  const name = `packed_${type}_${title}`;
  return {
    name: caseName(op, name, 'forward', 'f32'),
    op,
    direction: 'forward',
    dtype: 'f32',
    lacks: lacks(type),
    run: async (backend) => {
      const before = backend.memory();
      await work(backend, type, name);
      assertNothingLeft(backend, before);
    },
  };
}

function product(type: PackedDType, [n, k]: readonly [number, number], tolerance: Tolerance): Case {
  return caseOf(type, `${n}_by_${k}`, 'matmul', async (backend, _, name) => {
    const weights = made(type, n, k, new Generator('f32', seedOf(name)));
    for (const m of ROWS) {
      const run = (on: Backend) =>
        results(on, () => {
          const g = new Generator('f32', seedOf(`${name} ${m}`));
          const [a, sum] = [toTensor(on, g.operand([m, k]), 'f32'), toTensor(on, g.operand([m, n]), 'f32')];
          const b = on.packed(weights);
          const y = on.matmul(a, b, { transposeB: true });
          return { y, sum: on.matmul(a, b, { transposeB: true, accumulate: sum }) };
        });
      const reference = await createBackend('reference');
      const expected = await run(reference).finally(() => reference.dispose());
      assertClose(`${name}, ${m} rows`, await run(backend), expected, 4 * tolerance.output, 0.1);
    }
  });
}

/** Only the outputs of that row are none: weights of every sign meet it. */
const noNumber: Work = async (backend, type, name) => {
  const weights = made(type, 32, 64, new Generator('f32', seedOf(name)));
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const m of ROWS) {
      const { y } = await results(backend, () => {
        const a = new Float32Array(m * 64).fill(0.5);
        a[(m - 1) * 64 + 33] = bad;
        return { y: backend.matmul(backend.tensor(a, [m, 64]), backend.packed(weights), { transposeB: true }) };
      });
      const values = Array.from(y.values);
      const wrong = values.findIndex((value, i) => Number.isFinite(value) !== i < (m - 1) * 32);
      if (wrong >= 0)
        throw new ConformanceError(`${name}: ${m} rows, the last with ${bad}: ${wrong} is ${values[wrong]}`);
    }
  }
};

const lookup: Work = async (backend, type, name) => {
  const weights = made(type, 48, 96, new Generator('f32', seedOf(name)));
  const ids = Int32Array.of(0, 47, 17, 5, 31, 16, 5, 8);
  const { y } = await results(backend, () => ({
    y: backend.embedding(backend.packed(weights), backend.tensor(ids, [ids.length])),
  }));
  const table = unpackWeights(weights);
  const wrong = Array.from(y.values).findIndex(
    (value, i) => value !== table[(ids[Math.floor(i / 96)] as number) * 96 + (i % 96)],
  );
  if (wrong >= 0) throw new ConformanceError(`${name}: element ${wrong} is not the weight that was packed`);
};

async function results(backend: Backend, work: () => Record<string, Tensor>): Promise<Results> {
  const tensors = backend.scope(work);
  try {
    return await readAll(tensors);
  } finally {
    for (const tensor of Object.values(tensors)) tensor.dispose();
  }
}

/** Codes of every value, scales and offsets of both signs. */
function made(type: PackedDType, n: number, k: number, g: Generator): PackedWeights {
  const integers = (count: number, most: number) => Array.from({ length: count }, () => Math.floor(g.random() * most));
  const halves = (deviation: number) =>
    Uint16Array.from(g.operand([(n * k) / 32], deviation).values, (value) => toF16Bits(value));
  if (type === 'w4') {
    return packFourBits([n, k], Uint32Array.from(integers((n * k) / 8, 2 ** 32)), halves(0.1), halves(0.7));
  }
  if (type === 'w8')
    return packEightBits(
      [n, k],
      Int8Array.from(integers(n * k, 256), (code) => code - 128),
      halves(0.01),
    );
  return packBF16(
    [n, k],
    Uint16Array.from(g.operand([n, k]).values, (value) => toBF16Bits(value)),
  );
}
