import {
  type Backend,
  type FloatDType,
  LEARNED_NAMES,
  learned,
  type SampleOptions,
  sampleToken,
  type Tensor,
} from '@lazy-attention/core';
import { type Case, caseName, type Tolerance } from '../case.ts';
import { assertClose, ConformanceError } from '../compare.ts';
import { assertNothingLeft, readAll } from '../evaluate.ts';
import { Generator, toTensor } from '../problem.ts';
import { INPUTS } from './attention.ts';
import {
  composeLayer,
  decoderOf,
  type LayerArguments,
  type LayerSpec,
  lacksDecoder,
  layerArguments,
  type Matrix,
} from './decoder-layer.ts';

/** A model, and how tokens are drawn from it. */
export interface DecodeSpec extends SampleOptions {
  readonly layer?: Omit<LayerSpec, 'L' | 'starts'>;
  readonly layers?: number;
  readonly steps?: number;
  readonly vocabulary?: number;
  /** First key of each step is this far behind it. */
  readonly reach?: number;
  /** All logits are equal. */
  readonly flat?: boolean;
}

const SPECS: Readonly<Record<string, DecodeSpec>> = {
  one_step: { temperature: 0, steps: 1 },
  several_steps: { temperature: 0, steps: 7 },
  fills_the_cache: { temperature: 0, steps: 9, layer: { position: 11, capacity: 20 } },
  one_layer_of_grouped_heads: { temperature: 0, layers: 1, layer: { H: 6, Hkv: 2 } },
  several_rows: { temperature: 0, layer: { B: 3 } },
  more_rows_than_registers: { temperature: 0, layer: { B: 7 } },
  many_rows_and_a_cache_that_grows: { temperature: 0, steps: 12, layer: { B: 33, capacity: 40, position: 25 } },
  sliding_starts: { temperature: 0, reach: 6, layer: { B: 2 } },
  softmax_not_rotated: { temperature: 0, layer: { tau: false, window: 0, rotates: false } },
  drawn: {},
  drawn_from_the_largest: { topK: 4, temperature: 0.7, layer: { B: 2 } },
  drawn_from_a_nucleus: { topP: 0.8, layer: { B: 2 } },
  drawn_from_a_nucleus_of_the_largest: { topK: 9, topP: 0.6, temperature: 1.5 },
  largest_of_all: { topK: 1000 },
  the_first_of_equals: { flat: true, temperature: 0 },
  drawn_from_the_first_of_equals: { flat: true, topK: 4, layer: { B: 3 } },
  wide_vocabulary: { vocabulary: 700, topK: 50, topP: 0.95 },
  ...Object.fromEntries(
    INPUTS.map((name) => [`with_${name}`, { temperature: 0, steps: 3, layer: { B: 2, inputs: [name] } }]),
  ),
};

const FULL = { layers: 2, steps: 5, vocabulary: 31 } as const;

/** The same on every backend and for both ways of decoding. */
export function problemOf(backend: Backend, g: Generator, spec: DecodeSpec, matrix?: Matrix) {
  const { layers: count, steps, vocabulary } = { ...FULL, ...spec };
  const layers = Array.from({ length: count }, () => layerArguments(backend, g, spec.layer ?? {}, matrix));
  const words: Matrix = matrix ?? ((shape, deviation) => toTensor(backend, g.operand(shape, deviation), g.dtype));
  const [{ x, options }] = layers;
  const [B, , C] = x.shape;
  const { position, ropeBase, epsilon } = options;
  const { reach } = spec;
  const startOf = (step: number) => Math.max(0, position + step - (reach ?? 0));
  const firsts = Int32Array.from({ length: steps * B }, (_, i) => startOf(Math.floor(i / B)));
  return {
    tokens: Int32Array.from({ length: B }, (_, row) => (row * 7 + 3) % vocabulary),
    layers,
    embeddings: words([vocabulary, C], 1),
    norm: toTensor(backend, g.operand([C], 0.1, 1), g.dtype),
    head: words([vocabulary, C], spec.flat ? 0 : 0.5),
    starts: reach === undefined ? undefined : backend.tensor(firsts, [steps, B]),
    uniforms: Float64Array.from({ length: steps * B }, () => g.random()),
    steps,
    position,
    ropeBase,
    epsilon,
  };
}

type DecodeProblem = ReturnType<typeof problemOf>;

/** Draws with `decoder.decode`. */
export function fused(
  backend: Backend,
  problem: DecodeProblem,
  { temperature, topK, topP }: DecodeSpec,
): Promise<Int32Array> {
  const { tokens, layers, embeddings, norm, head, ...rest } = problem;
  const states = layers.map(({ weights, options }) => ({
    weights,
    keys: options.keys,
    values: options.values,
    ...learned((name) => options[name]),
  }));
  const ids = backend.tensor(tokens, [tokens.length]);
  const drawing = decoderOf(backend).decode(
    ids,
    { embeddings, layers: states, norm, head },
    { ...rest, temperature, topK, topP },
  );
  ids.dispose();
  return drawing;
}

/** What `decoder.decode` is short for. */
export async function composed(backend: Backend, problem: DecodeProblem, spec: DecodeSpec): Promise<Int32Array> {
  const { layers, embeddings, norm, head, starts, uniforms, steps, position, epsilon } = problem;
  const B = problem.tokens.length;
  const [V, C] = embeddings.shape;
  let tokens = problem.tokens;
  const drawn: number[] = [];
  for (let step = 0; step < steps; step++) {
    const logits = backend.scope(() => {
      let x: Tensor = backend.reshape(backend.embedding(embeddings, backend.tensor(tokens, [B])), [B, 1, C]);
      const first = starts && backend.reshape(backend.slice(starts, 0, step, step + 1), [B, 1]);
      for (const layer of layers) {
        const options = { ...layer.options, position: position + step, starts: first };
        x = composeLayer(backend, { ...layer, x, options } as LayerArguments);
      }
      const h = backend.rmsNorm(backend.reshape(x, [B, C]), norm, { epsilon });
      return backend.matmul(h, head, { transposeB: true });
    });
    const values = await logits.data().finally(() => logits.dispose());
    tokens = Int32Array.from({ length: B }, (_, row) =>
      sampleToken(values.subarray(row * V, (row + 1) * V), spec, () => uniforms[step * B + row]),
    );
    drawn.push(...tokens);
  }
  return Int32Array.from(drawn);
}

/** Fused decoding draws the tokens that its ops lead to, and leaves their keys and values. */
export function decodings(dtype: FloatDType, tolerance: Tolerance): Case[] {
  return Object.entries(SPECS).map(([name, spec]) => ({
    name: caseName('decoder.decode', name, 'forward', dtype),
    op: 'decoder.decode',
    direction: 'forward',
    dtype,
    lacks: lacksDecoder,
    run: async (backend) => {
      const before = backend.memory();
      const make = () => backend.scope(() => problemOf(backend, new Generator(dtype, `decoder.decode ${name}`), spec));
      const [one, other] = [make(), make()];
      try {
        const tokens = await fused(backend, one, spec);
        const expected = await composed(backend, other, spec);
        if (tokens.join() !== expected.join()) {
          throw new ConformanceError(`${name}: drew ${tokens.join(' ')}; its ops lead to ${expected.join(' ')}`);
        }
        assertClose(name, await readAll(caches(one)), await readAll(caches(other)), 4 * tolerance.output, 1e-2);
      } finally {
        for (const problem of [one, other]) dispose(problem);
      }
      assertNothingLeft(backend, before);
    },
  }));
}

/** What decoding changes. */
export function caches({ layers }: DecodeProblem): Record<string, Tensor> {
  return Object.fromEntries(
    layers.flatMap(({ options: { keys, values } }, i) => [
      [`keys of layer ${i}`, keys],
      [`values of layer ${i}`, values],
    ]),
  );
}

/** Disposes of all that `problemOf` made. */
export function dispose({ layers, embeddings, norm, head, starts }: DecodeProblem): void {
  for (const { x, weights, options } of layers) {
    const given = LEARNED_NAMES.map((name) => options[name]);
    for (const tensor of [x, ...Object.values(weights), options.keys, options.values, ...given]) tensor?.dispose();
  }
  for (const tensor of [embeddings, norm, head, starts]) tensor?.dispose();
}
