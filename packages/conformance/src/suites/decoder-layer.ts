import {
  type Backend,
  type Decoder,
  type FloatDType,
  learned,
  type PerHeadInput,
  perHead,
  type Tensor,
} from '@lazy-attention/core';
import { type Case, caseName, type Tolerance } from '../case.ts';
import { assertClose, ConformanceError } from '../compare.ts';
import { assertNothingLeft, readAll } from '../evaluate.ts';
import { Generator, type Shape, type Tensors, toTensor } from '../problem.ts';
import { INPUTS } from './attention.ts';

export interface LayerSpec {
  readonly B?: number;
  readonly L?: number;
  readonly C?: number;
  readonly H?: number;
  readonly Hkv?: number;
  readonly D?: number;
  readonly I?: number;
  /** Room in the cache, and tokens in it before. */
  readonly capacity?: number;
  readonly position?: number;
  /** W of the bias; 0 for none. */
  readonly window?: number;
  readonly tau?: boolean;
  /** Other inputs [H] of attention that are there. */
  readonly inputs?: readonly PerHeadInput[];
  /** First key of each row. */
  readonly starts?: number;
  readonly rotates?: boolean;
}

const SPECS: Readonly<Record<string, LayerSpec>> = {
  one_token: {},
  first_token: { position: 0 },
  last_place_of_the_cache: { capacity: 20, position: 19 },
  several_rows: { B: 3 },
  more_rows_than_registers: { B: 7 },
  several_tokens: { L: 5, B: 2 },
  grouped_heads: { H: 6, Hkv: 2 },
  head_dim_4: { D: 4, C: 12, I: 20 },
  softmax: { tau: false, window: 0 },
  not_rotated: { rotates: false },
  window_of_one: { window: 1 },
  from_a_start: { starts: 4 },
  wide: { C: 512, H: 8, Hkv: 8, D: 64, I: 1536, position: 130, capacity: 160 },
  ...Object.fromEntries(INPUTS.map((name) => [`with_${name}`, { H: 4, Hkv: 2, L: 2, inputs: [name] }])),
};

/** Makes a matrix of weights. */
export type Matrix = (shape: readonly [number, number], deviation: number) => Tensor;

/** Arguments on the backend, the same for the same spec. */
export function layerArguments(backend: Backend, g: Generator, spec: LayerSpec, matrix?: Matrix) {
  const { B = 1, L = 1, C = 24, H = 4, Hkv = H, D = 8, I = 40, capacity = 20, position = 11 } = spec;
  const { window = 6, tau = true, inputs = [], starts, rotates = true } = spec;
  const make = (shape: Shape, deviation = 1, mean = 0) => toTensor(backend, g.operand(shape, deviation, mean), g.dtype);
  const linear = (out: number, inner: number) => (matrix ?? make)([out, inner], 1 / Math.sqrt(inner));
  const first = starts === undefined ? undefined : new Int32Array(B * L).fill(starts);
  return {
    x: make([B, L, C]),
    weights: {
      attentionNorm: make([C], 0.1, 1),
      q: linear(H * D, C),
      k: linear(Hkv * D, C),
      v: linear(Hkv * D, C),
      o: linear(C, H * D),
      mlpNorm: make([C], 0.1, 1),
      gate: linear(I, C),
      up: linear(I, C),
      down: linear(C, I),
    },
    options: {
      keys: make([B, capacity, Hkv, D]),
      values: make([B, capacity, Hkv, D]),
      position,
      bias: window === 0 ? undefined : toTensor(backend, g.statistics([H, window], 0.5), g.dtype),
      ...perHead((name) => {
        if (name === 'tau') return tau ? toTensor(backend, g.statistics([H], 0.2, -0.8), g.dtype) : undefined;
        return inputs.includes(name) ? toTensor(backend, g.statistics([H]), g.dtype) : undefined;
      }),
      starts: first && backend.tensor(first, [B, L]),
      ropeBase: rotates ? 10000 : null,
      epsilon: 1e-6,
    },
    heads: { H, Hkv, D },
  };
}

export type LayerArguments = ReturnType<typeof layerArguments>;

/** What `decoder.layer` is short for. Changes the cache as it does, and returns the new x. */
export function composeLayer(backend: Backend, { x, weights, options, heads }: LayerArguments): Tensor {
  const { position, epsilon, keys, values, ropeBase, starts } = options;
  const [B, L, C] = x.shape;
  const linear = (a: Tensor, weight: Tensor) => backend.matmul(a, weight, { transposeB: true });
  const project = (a: Tensor, weight: Tensor, count: number, rotates: boolean) => {
    const split = backend.reshape(linear(a, weight), [B, L, count, heads.D]);
    return rotates && ropeBase !== null ? backend.rope(split, { base: ropeBase, offset: position }) : split;
  };
  const h = backend.rmsNorm(x, weights.attentionNorm, { epsilon });
  backend.copyInto(keys, project(h, weights.k, heads.Hkv, true), 1, position);
  backend.copyInto(values, project(h, weights.v, heads.Hkv, false), 1, position);
  const q = project(h, weights.q, heads.H, true);
  const given = learned((name) => options[name]);
  const { output } = backend.attention(q, keys, values, { ...given, starts, keyLength: position + L, save: false });
  const x1 = backend.add(x, linear(backend.reshape(output, [B, L, heads.H * heads.D]), weights.o));
  const m = backend.rmsNorm(x1, weights.mlpNorm, { epsilon });
  const down = linear(backend.swiglu(linear(m, weights.gate), linear(m, weights.up)), weights.down);
  return backend.reshape(backend.add(x1, down), [B, L, C]);
}

/** Why a backend does not offer fused decoding. */
export function lacksDecoder(backend: Backend): string | undefined {
  return backend.decoder === undefined ? `backend '${backend.name}' has no fused decoding` : undefined;
}

/** Why a backend does not offer a layer in one launch. */
export function lacksLayer(backend: Backend): string | undefined {
  return backend.decoder?.layer === undefined ? `backend '${backend.name}' has no fused decoder layer` : undefined;
}

/** Runs a layer in one launch, on a backend that offers it. */
export function fusedLayer(backend: Backend, ...args: Parameters<NonNullable<Decoder['layer']>>): void {
  const layer = decoderOf(backend).layer;
  if (layer === undefined) throw new ConformanceError(`backend '${backend.name}' has no fused decoder layer`);
  layer(...args);
}

/** The fused decoder of a backend that has one. */
export function decoderOf(backend: Backend): Decoder {
  if (backend.decoder === undefined) throw new ConformanceError(`backend '${backend.name}' has no fused decoding`);
  return backend.decoder;
}

/** The fused layer is the ops that it is made of. */
export function decoderLayers(dtype: FloatDType, tolerance: Tolerance): Case[] {
  return Object.entries(SPECS).map(([name, spec]) => ({
    name: caseName('decoder.layer', name, 'forward', dtype),
    op: 'decoder.layer',
    direction: 'forward',
    dtype,
    lacks: lacksLayer,
    run: async (backend) => {
      const before = backend.memory();
      const make = () => layerArguments(backend, new Generator(dtype, name), spec);
      const { one, other } = backend.scope(() => {
        const fused = make();
        fusedLayer(backend, fused.x, fused.weights, fused.options);
        const plain = make();
        const x = composeLayer(backend, plain);
        return { one: results(fused.x, fused.options), other: results(x, plain.options) };
      });
      try {
        assertClose(name, await readAll(one), await readAll(other), 2 * tolerance.output, 1e-2);
      } finally {
        for (const tensors of [one, other]) for (const tensor of Object.values(tensors)) tensor.dispose();
      }
      assertNothingLeft(backend, before);
    },
  }));
}

/** What a layer changes. */
export function results(x: Tensor, { keys, values }: { keys: Tensor; values: Tensor }): Tensors {
  return { x, keys, values };
}
