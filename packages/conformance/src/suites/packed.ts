import {
  type Backend,
  type FloatDType,
  PACKED_DTYPES,
  type PackedDType,
  type PackedWeights,
  packBF16,
  packBlocks,
  type Tensor,
  toBF16Bits,
  toF16Bits,
  unpackWeights,
} from '@lazy-attention/core';
import { type Case, caseName, type Tolerance } from '../case.ts';
import { assertClose, ConformanceError, type Results } from '../compare.ts';
import { assertNothingLeft, oracle, readAll } from '../evaluate.ts';
import { Generator, toTensor } from '../problem.ts';
import { caches, composed, type DecodeSpec, dispose, fused, problemOf } from './decode.ts';
import {
  results as changed,
  composeLayer,
  fusedLayer,
  type LayerSpec,
  lacksDecoder,
  lacksLayer,
  layerArguments,
  type Matrix,
} from './decoder-layer.ts';

/** [N, K] of the weights: one block; more groups of rows than streams, and none left over; a vocabulary; long sums. */
const SHAPES: readonly (readonly [number, number])[] = [
  [16, 32],
  [208, 96],
  [1040, 64],
  [80, 1536],
];
/** Rows of activations: those of decoding, which kernels take one by one, and those of prompts. */
const ROWS = [1, 2, 3, 4, 5, 37];

/** A decoder whose matrices can all be packed. */
const LAYER = { C: 64, H: 4, Hkv: 2, D: 16, I: 96 };
const MODEL: DecodeSpec = { layer: LAYER, vocabulary: 48, temperature: 0 };

/** Rows enough for kernels to want memory of their own, which packed matrices and others want in different sizes. */
const MIXED = { C: 512, H: 4, Hkv: 4, D: 64, I: 512 };
const MIXED_ROWS = 130;

/** Which matrices are packed, by their place: q, k, v, o, gate, up and down of each layer, then embeddings and head. */
type Mix = (place: number) => boolean;
const ALL: Mix = () => true;
const MIXES: Readonly<Record<string, Mix>> = {
  every_other: (place) => place % 2 === 0,
  the_others: (place) => place % 2 === 1,
};
const MIXED_LAYERS: Readonly<Record<string, Mix>> = {
  first_layer_alone: (place) => place < 7,
  all_but_the_first_layer: (place) => place >= 7,
};

/** Products, lookups and decoding with packed weights, against the reference with the same weights as numbers. */
export function packedWeights(dtype: FloatDType, tolerance: Tolerance): Case[] {
  if (dtype !== 'f32') return [];
  return PACKED_DTYPES.flatMap((type) => [
    ...SHAPES.map((shape) => product(type, shape, tolerance)),
    caseOf(type, 'a_row_that_is_no_number', 'matmul', noNumber),
    caseOf(type, 'embedding', 'embedding', lookup),
    ...[1, 3, 7].map((B) => layer(type, `${B}_rows`, { ...LAYER, B }, ALL, tolerance)),
    ...[1, 7].map((B) => decoding(type, `${B}_rows`, { ...MODEL, layer: { ...LAYER, B } }, ALL, tolerance)),
    ...(type === 'w8' ? mixed(type, tolerance) : []),
  ]);
}

/** What is wrong there does not depend on how matrices are packed, so one type will do. */
function mixed(type: PackedDType, tolerance: Tolerance): Case[] {
  return [
    ...Object.entries(MIXES).map(([name, mix]) =>
      layer(type, `mixed_${name}`, { ...MIXED, L: MIXED_ROWS, capacity: 150 }, mix, tolerance),
    ),
    ...Object.entries(MIXED_LAYERS).map(([name, mix]) =>
      decoding(type, `mixed_${name}`, { ...MODEL, steps: 2, layer: { ...MIXED, B: MIXED_ROWS } }, mix, tolerance),
    ),
  ];
}

/** Why a backend does not run these. */
function lacks(type: PackedDType, op: PackedOp): (backend: Backend) => string | undefined {
  return (backend) => {
    if (!backend.packedDTypes.has(type)) return `backend '${backend.name}' has no packed weights of ${type}`;
    if (op === 'decoder.layer') return lacksLayer(backend);
    return op === 'decoder.decode' ? lacksDecoder(backend) : undefined;
  };
}

type PackedOp = 'matmul' | 'embedding' | 'decoder.layer' | 'decoder.decode';
type Work = (backend: Backend, type: PackedDType, name: string) => Promise<void>;

function caseOf(type: PackedDType, title: string, op: PackedOp, work: Work): Case {
  const name = `packed_${type}_${title}`;
  return {
    name: caseName(op, name, 'forward', 'f32'),
    op,
    direction: 'forward',
    dtype: 'f32',
    lacks: lacks(type, op),
    run: async (backend) => {
      const before = backend.memory();
      await work(backend, type, name);
      assertNothingLeft(backend, before);
    },
  };
}

function product(type: PackedDType, [n, k]: readonly [number, number], tolerance: Tolerance): Case {
  return caseOf(type, `${n}_by_${k}`, 'matmul', async (backend, _, name) => {
    const weights = made(type, n, k, new Generator('f32', name));
    for (const m of ROWS) {
      const run = (on: Backend) =>
        results(on, () => {
          const g = new Generator('f32', `${name} ${m}`);
          const [a, sum] = [toTensor(on, g.operand([m, k]), 'f32'), toTensor(on, g.operand([m, n]), 'f32')];
          const b = on.packed(weights);
          const y = on.matmul(a, b, { transposeB: true });
          return { y, sum: on.matmul(a, b, { transposeB: true, accumulate: sum }) };
        });
      assertClose(`${name}, ${m} rows`, await run(backend), await run(oracle()), 4 * tolerance.output, 0.1);
    }
  });
}

/** A decoder layer with packed matrices is the reference's ops with the same weights as numbers. */
function layer(type: PackedDType, title: string, spec: LayerSpec, mix: Mix, tolerance: Tolerance): Case {
  return caseOf(type, title, 'decoder.layer', async (backend, _, name) => {
    const argumentsOn = (on: Backend, place: Place) => {
      const g = new Generator('f32', name);
      return layerArguments(on, g, spec, matrices(type, g, place));
    };
    const actual = await results(backend, () => {
      const { x, weights, options } = argumentsOn(backend, packedIf(backend, mix));
      fusedLayer(backend, x, weights, options);
      return changed(x, options);
    });
    const expected = await results(oracle(), () => {
      const given = argumentsOn(oracle(), numbersOn(oracle()));
      return changed(composeLayer(oracle(), given), given.options);
    });
    assertClose(name, actual, expected, 4 * tolerance.output, 1e-2);
  });
}

/** Decoding with packed matrices, embeddings and head draws the tokens that the reference's ops lead to. */
function decoding(type: PackedDType, title: string, spec: DecodeSpec, mix: Mix, tolerance: Tolerance): Case {
  return caseOf(type, title, 'decoder.decode', async (backend, _, name) => {
    const drawn = async (on: Backend, place: Place, draw: typeof fused) => {
      const g = new Generator('f32', name);
      const problem = on.scope(() => problemOf(on, g, spec, matrices(type, g, place)));
      try {
        return { tokens: await draw(on, problem, spec), caches: await readAll(caches(problem)) };
      } finally {
        dispose(problem);
      }
    };
    const actual = await drawn(backend, packedIf(backend, mix), fused);
    const expected = await drawn(oracle(), numbersOn(oracle()), composed);
    if (actual.tokens.join() !== expected.tokens.join()) {
      throw new ConformanceError(`${name}: drew ${actual.tokens.join(' ')}; expected ${expected.tokens.join(' ')}`);
    }
    assertClose(name, actual.caches, expected.caches, 4 * tolerance.output, 1e-2);
  });
}

/** Makes a tensor of packed weights, of the matrix in that place. */
type Place = (weights: PackedWeights, index: number) => Tensor;

const numbersOn =
  (on: Backend): Place =>
  (weights) =>
    on.tensor(unpackWeights(weights), weights.shape);

const packedIf =
  (on: Backend, mix: Mix): Place =>
  (weights, index) =>
    mix(index) ? on.packed(weights) : numbersOn(on)(weights, index);

function matrices(type: PackedDType, g: Generator, place: Place): Matrix {
  let index = 0;
  return ([n, k], deviation) => place(made(type, n, k, g, deviation), index++);
}

/** Only the outputs of that row are none: weights of every sign meet it. */
const noNumber: Work = async (backend, type, name) => {
  const weights = made(type, 32, 64, new Generator('f32', name));
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
  const weights = made(type, 48, 96, new Generator('f32', name));
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
function made(type: PackedDType, n: number, k: number, g: Generator, deviation = 1): PackedWeights {
  const shape = [n, k];
  const integers = (count: number, most: number) => Array.from({ length: count }, () => Math.floor(g.random() * most));
  const halves = (part: number) =>
    Uint16Array.from(g.operand([(n * k) / 32], part * deviation).values, (value) => toF16Bits(value));
  const signed = (count: number, most: number) => Int8Array.from(integers(count, 2 * most), (code) => code - most);
  const words = () => Uint32Array.from(integers((n * k) / 8, 2 ** 32));
  switch (type) {
    case 'w4':
      return packBlocks(shape, { dtype: type, codes: words(), scales: halves(0.1), offsets: halves(0.7) });
    case 'w8':
      return packBlocks(shape, { dtype: type, codes: signed(n * k, 128), scales: halves(0.01) });
    case 'w4k':
      return packBlocks(shape, { dtype: type, codes: words(), ...scaled((n * k) / 32, 0.1, 0.7) });
    case 'w8k':
      // Codes of 6 bits, as those that have such scales: a product of three stays exact.
      return packBlocks(shape, { dtype: type, codes: signed(n * k, 32), ...scaled((n * k) / 16, 0.02, 0.4) });
    case 'w16':
      return packBF16(
        shape,
        Uint16Array.from(g.operand([n, k], deviation).values, (value) => toBF16Bits(value)),
      );
  }

  function scaled(factors: number, scale: number, offset: number) {
    return {
      scales: halves(scale / 32),
      offsets: halves(offset / 32),
      scaleFactors: signed(factors, 64),
      offsetFactors: signed(factors, 64),
    };
  }
}
