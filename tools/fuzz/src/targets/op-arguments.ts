import {
  BINARY_FUNCTIONS,
  packBF16,
  REDUCE_FUNCTIONS,
  type SavedAttention,
  type Tensor,
  UNARY_FUNCTIONS,
} from '@lazy-attention/core';
import { oneOf, type Random, upTo } from '../random.ts';

/** Sizes of one sequence of calls, by the letters of spec §Shapes and symbols; C is a width, V a vocabulary. */
export interface Sizes {
  readonly B: number;
  readonly L: number;
  readonly S: number;
  readonly H: number;
  readonly Hkv: number;
  readonly D: number;
  readonly C: number;
  readonly V: number;
  readonly W: number;
}

/** Where arguments come from. */
export interface Supply {
  readonly random: Random;
  readonly sizes: Sizes;
  /** Values that an argument never should have. */
  readonly strange: readonly unknown[];
  /** A floating tensor of this shape: one that is there, or a new one. */
  floats(...shape: number[]): Tensor;
  /** Indices below `end`. */
  ids(end: number, ...shape: number[]): Tensor;
  /** A floating tensor of the pool, of any shape. */
  any(): Tensor;
  /** A state that `attention` has kept, with a gradient for it; null when there is none. */
  kept(): { readonly saved: SavedAttention; readonly shape: readonly number[] } | null;
}

export function someSizes(random: Random): Sizes {
  const small = () => oneOf(random, [1, 1, 2, 2, 3, 4, 5, 7, 8]);
  const L = small();
  const Hkv = oneOf(random, [1, 1, 2]);
  const H = Hkv * oneOf(random, [1, 2, 3]);
  const D = oneOf(random, [4, 8, 16]);
  return { B: small(), L, S: L + upTo(random, 4), H, Hkv, D, C: H * D, V: oneOf(random, [4, 9, 16]), W: small() };
}

type Arguments = (supply: Supply) => unknown[];

const maybe = <T>(random: Random, value: () => T): T | undefined => (random() < 0.5 ? value() : undefined);

/** Options of which only those are there that have a value. */
function given(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function axisOf(x: Tensor, random: Random): number {
  return upTo(random, x.shape.length) - (random() < 0.2 ? x.shape.length : 0);
}

function withAxis({ any, floats, sizes }: Supply): Tensor {
  const x = any();
  return x.shape.length > 0 ? x : floats(sizes.B, sizes.L);
}

function shuffled(count: number, random: Random): number[] {
  const left = Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: count }, () => left.splice(upTo(random, left.length), 1)[0] as number);
}

/** A shape that broadcasts with `shape`. */
function broadcastable(shape: readonly number[], random: Random): number[] {
  return shape.slice(upTo(random, shape.length + 1)).map((size) => (random() < 0.3 ? 1 : size));
}

function queries({ floats, sizes: { B, L, S, H, Hkv, D } }: Supply): [Tensor, Tensor, Tensor] {
  return [floats(B, L, H, D), floats(B, S, Hkv, D), floats(B, S, Hkv, D)];
}

function attentionOptions({ random, floats, ids, sizes: { B, L, S, H, W } }: Supply): Record<string, unknown> {
  return given({
    bias: maybe(random, () => floats(H, W)),
    tau: maybe(random, () => floats(H)),
    sink: maybe(random, () => floats(H)),
    starts: maybe(random, () => ids(S - L + 1, B)),
    scale: maybe(random, () => random()),
    keyLength: maybe(random, () => L + upTo(random, S - L + 1)),
  });
}

function elasticOptions({ random, floats, ids, sizes: { B, L, S, H } }: Supply): Record<string, unknown> {
  return given({ tau: maybe(random, () => floats(H)), starts: maybe(random, () => ids(S - L + 1, B)) });
}

function factors({ floats, random, sizes: { B, L, C, D } }: Supply) {
  const [transposeA, transposeB] = [random() < 0.3, random() < 0.5];
  const batched = random() < 0.5 || transposeA;
  const a = transposeA ? floats(B, C, L) : floats(B, L, C);
  const b = transposeB ? [D, C] : [C, D];
  return { a, b: batched ? floats(B, ...b) : floats(...b), options: { transposeA, transposeB } };
}

function layerWeights({ floats, sizes: { H, Hkv, D, C } }: Supply) {
  const wide = 2 * C;
  return {
    attentionNorm: floats(C),
    q: floats(H * D, C),
    k: floats(Hkv * D, C),
    v: floats(Hkv * D, C),
    o: floats(C, H * D),
    mlpNorm: floats(C),
    gate: floats(wide, C),
    up: floats(wide, C),
    down: floats(C, wide),
  };
}

function layerOptions({ random, floats, ids, sizes: { B, S, H, Hkv, D, W } }: Supply) {
  const position = upTo(random, S);
  return {
    keys: floats(B, S, Hkv, D),
    values: floats(B, S, Hkv, D),
    position,
    ropeBase: oneOf(random, [null, 10_000]),
    epsilon: 1e-6,
    starts: maybe(random, () => ids(position + 1, B)),
    terms: given({
      bias: maybe(random, () => floats(H, W)),
      tau: maybe(random, () => floats(H)),
      sink: maybe(random, () => floats(H)),
    }),
  };
}

/** Arguments that an op takes, by its name. What is not here gets arguments at random. */
export const RIGHT_ARGUMENTS: Readonly<Record<string, Arguments>> = {
  tensor: ({ sizes: { B, C } }) => [new Float32Array(B * C).fill(0.5), [B, C]],
  packed: ({ sizes: { V } }) => {
    const shape = [16, 32 * V];
    return [packBF16(shape, new Uint16Array(512 * V).fill(0x3f00))];
  },
  zeros: ({ sizes: { B, L } }) => [[B, L]],
  full: ({ random, sizes: { B, L } }) => [[B, L], random()],
  reshape: ({ any }) => {
    const x = any();
    return [x, [x.size]];
  },
  cast: ({ any, random }) => [any(), oneOf(random, ['f32', 'bf16', 'f16'])],
  castGrad: ({ any, random }) => [any(), oneOf(random, ['f32', 'bf16', 'f16'])],
  slice: (supply) => {
    const x = withAxis(supply);
    const axis = upTo(supply.random, x.shape.length);
    const start = upTo(supply.random, x.shape[axis] as number);
    return [x, axis, start, start + 1 + upTo(supply.random, (x.shape[axis] as number) - start)];
  },
  sliceGrad: (supply) => {
    const x = withAxis(supply);
    const axis = upTo(supply.random, x.shape.length);
    const shape = x.shape.map((size, i) => (i === axis ? size + 2 : size));
    return [x, shape, axis, upTo(supply.random, 3)];
  },
  copyInto: ({ floats, ids, random, sizes: { B, L, S, D, V } }) =>
    random() < 0.3
      ? [ids(V, B, S), ids(V, B, L), 1, upTo(random, S - L + 1)]
      : [floats(B, S, D), floats(B, L, D), 1, upTo(random, S - L + 1)],
  add: pair,
  mul: pair,
  swiglu: pair,
  addGrad: ({ any }) => [any()],
  mulGrad: triple,
  swigluGrad: triple,
  scale: ({ any, random }) => [any(), random()],
  scaleGrad: ({ any, random }) => [any(), random()],
  sum: ({ any }) => [any()],
  sumGrad: ({ floats, random, sizes: { B, L } }) => [floats(), [B, L], ...(random() < 0.3 ? ['i32'] : [])],
  sumSquares: ({ any, floats, random, sizes: { B, C } }) => [random() < 0.5 ? [any()] : [floats(B, C), floats(C)]],
  unary: ({ any, random }) => [oneOf(random, UNARY_FUNCTIONS), any()],
  binary: ({ any, floats, random }) => {
    const x = any();
    return [oneOf(random, BINARY_FUNCTIONS), x, floats(...broadcastable(x.shape, random))];
  },
  reduce: ({ any, random }) => {
    const x = any();
    const axes = maybe(random, () => shuffled(x.shape.length, random).slice(0, 1 + upTo(random, x.shape.length)));
    return [oneOf(random, REDUCE_FUNCTIONS), x, given({ axes, keepDims: maybe(random, () => true) })];
  },
  permute: ({ any, random }) => {
    const x = any();
    return [x, shuffled(x.shape.length, random)];
  },
  broadcast: ({ any, random }) => {
    const x = any();
    return [x, [1 + upTo(random, 3), ...x.shape]];
  },
  where: triple,
  concat: (supply) => {
    const x = withAxis(supply);
    return [[x, supply.floats(...x.shape)], axisOf(x, supply.random)];
  },
  pad: (supply) => {
    const x = withAxis(supply);
    return [x, axisOf(x, supply.random), upTo(supply.random, 3), upTo(supply.random, 3)];
  },
  gather: (supply) => {
    const x = withAxis(supply);
    const axis = upTo(supply.random, x.shape.length);
    return [x, supply.ids(x.shape[axis] as number, supply.sizes.L), axis];
  },
  matmul: (supply) => {
    const { a, b, options } = factors(supply);
    return [a, b, options];
  },
  matmulGrad: (supply) => {
    const { a, b, options } = factors(supply);
    const { B, L, D } = supply.sizes;
    return [supply.floats(B, L, D), a, b, options];
  },
  rmsNorm: ({ floats, sizes: { B, L, C } }) => [floats(B, L, C), floats(C)],
  rmsNormGrad: ({ floats, sizes: { B, L, C } }) => [floats(B, L, C), floats(B, L, C), floats(C)],
  rope: ({ floats, random, sizes: { B, L, H, D } }) => [floats(B, L, H, D), { offset: upTo(random, 9) }],
  ropeGrad: ({ floats, random, sizes: { B, L, H, D } }) => [floats(B, L, H, D), { offset: upTo(random, 9) }],
  embedding: ({ floats, ids, sizes: { B, L, V, C } }) => [floats(V, C), ids(V, B, L)],
  embeddingGrad: ({ floats, ids, sizes: { B, L, V, C } }) => [floats(B, L, C), ids(V, B, L), V],
  attention: (supply) => [...queries(supply), attentionOptions(supply)],
  attentionGrad: ({ floats, kept }) => {
    const state = kept();
    return state === null ? [floats()] : [floats(...state.shape), state.saved];
  },
  attentionWeights: (supply) => [...queries(supply).slice(0, 2), attentionOptions(supply)],
  elasticSoftmax: (supply) => {
    const { B, H, L, S } = supply.sizes;
    return [supply.floats(B, H, L, S), elasticOptions(supply)];
  },
  elasticSoftmaxGrad: (supply) => {
    const { B, H, L, S } = supply.sizes;
    return [supply.floats(B, H, L, S), supply.floats(B, H, L, S), elasticOptions(supply)];
  },
  crossEntropy: ({ floats, ids, random, sizes: { B, L, V } }) => [
    floats(B, L, V),
    ids(V, B, L),
    given({ ignoreIndex: maybe(random, () => upTo(random, V)), count: maybe(random, () => 1 + upTo(random, B * L)) }),
  ],
  crossEntropyGrad: ({ floats, ids, sizes: { B, L, V } }) => [floats(), floats(B, L, V), ids(V, B, L), floats(B, L)],
  adamw: ({ floats, random, sizes: { V, C } }) => [
    Array.from({ length: 1 + upTo(random, 2) }, () => ({
      param: floats(V, C),
      grad: floats(V, C),
      m: floats(V, C),
      v: floats(V, C),
      ...given({ weightDecay: maybe(random, () => 0.1) }),
    })),
    { learningRate: 1e-3, step: 1 + upTo(random, 9) },
  ],
  'decoder.layer': (supply) => {
    const { B, C } = supply.sizes;
    const { terms, starts, ...options } = layerOptions(supply);
    return [supply.floats(B, 1, C), layerWeights(supply), { ...options, ...terms, ...given({ starts }) }];
  },
  'decoder.decode': (supply) => {
    const { floats, ids, random, sizes } = supply;
    const { B, S, V, C } = sizes;
    const { keys, values, position, starts, ropeBase, epsilon, terms } = layerOptions(supply);
    const layer = { weights: layerWeights(supply), keys, values, ...terms };
    const decoder = { embeddings: floats(V, C), layers: [layer], norm: floats(C), head: floats(V, C) };
    const steps = 1 + upTo(random, S - position);
    return [ids(V, B), decoder, { steps, position, ropeBase, epsilon, temperature: 0, ...given({ starts }) }];
  },
};

function pair({ any, floats }: Supply): unknown[] {
  const x = any();
  return [x, floats(...x.shape)];
}

function triple({ any, floats }: Supply): unknown[] {
  const x = any();
  return [x, floats(...x.shape), floats(...x.shape)];
}
