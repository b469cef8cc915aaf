import { PER_HEAD_NAMES, type PerHeadInput } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Op } from '../case.ts';
import type { Generator, Problem } from '../problem.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';
import { type AttentionSpec, attentionProblem, weightsProblem } from './attention-problem.ts';
import { arbitrary, leftPadding, packed, type Starts, sliding } from './starts.ts';

/** The inputs [H] beside tau, which all other cases have. */
export const INPUTS = PER_HEAD_NAMES.filter((name) => name !== 'tau');

type Specs = Readonly<Record<string, AttentionSpec>>;

function forEachInput(cases: (name: PerHeadInput) => Specs): Specs {
  return Object.assign({}, ...INPUTS.map(cases));
}

/** Where each of them is tried: by itself, beside all others, in chunks, decoding, in the larger heads. */
function inputEdges(name: PerHeadInput): Specs {
  return {
    [`${name}_without_tau`]: { B: 2, L: 33, H: 2, D: 16, [name]: [0.5, -1] },
    [`${name}_with_grouped_query`]: { B: 2, L: 22, H: 6, Hkv: 2, D: 16, W: 9, tau: -1, [name]: [0, 1, 2, -1, 0.5, 4] },
    [`${name}_in_packed_documents`]: {
      ...{ B: 2, L: 41, H: 2, D: 16, W: 16, tau: -1, [name]: [1, -1] },
      starts: packed(7, 8, 25),
    },
    [`chunked_prefill_with_${name}`]: {
      ...{ B: 2, L: 11, S: 37, H: 4, Hkv: 2, D: 16, W: 20, tau: -1, [name]: [0, 2, -1, 1] },
    },
    [`decode_with_${name}`]: { B: 3, L: 1, S: 45, H: 4, Hkv: 2, D: 16, W: 20, tau: -1, [name]: [0, 2, -1, 1] },
    [`decode_from_a_cache_with_${name}`]: {
      ...{ B: 3, L: 1, S: 33, H: 4, D: 32, W: 64, [name]: [0, 2, -1, 1], capacity: 64 },
    },
    [`${name}_with_head_dim_128`]: { L: 20, H: 2, D: 128, W: 40, tau: -1, [name]: [1, -1] },
    [`${name}_with_head_dim_256`]: { L: 18, S: 21, H: 2, Hkv: 1, D: 256, W: 8, tau: -1, [name]: [1, -1] },
  };
}

function longInputs(name: PerHeadInput): Specs {
  return {
    [`long_with_${name}`]: { L: 300, H: 2, D: 32, W: 128, tau: -1, [name]: [0, 3] },
    [`long_decode_with_${name}`]: {
      ...{ B: 2, L: 1, S: 1500, H: 4, Hkv: 2, D: 64, W: 512, tau: -1, [name]: [0, 3, -2, 1] },
    },
  };
}

/** Every edge case of spec §Numerics, by name. */
export const ATTENTION_EDGES: Readonly<Record<string, AttentionSpec>> = {
  paper_defaults: { B: 2, L: 40, H: 4, D: 32, W: 512, tau: -1 },
  softmax: { B: 2, L: 33, H: 2, D: 16 },
  zero_tau_equals_softmax: { B: 2, L: 33, H: 2, D: 16, tau: 0, exactTau: true },
  alibi: { L: 37, H: 4, D: 16, W: 37, bias: (h, d) => -d * 2 ** (-2 * (h + 1)) },
  lazy_without_bias: { L: 37, H: 2, D: 16, tau: -1 },
  lazy_without_tau: { L: 37, H: 2, D: 16, W: 20 },
  zero_bias: { L: 21, H: 2, D: 8, W: 8, bias: () => 0, tau: -1 },
  first_token_gives_zero_with_tau_minus_one: { B: 2, L: 1, H: 3, D: 8, W: 4, tau: -1, exactTau: true },
  first_tokens_of_documents_give_zero: { L: 9, H: 2, D: 8, tau: -1, exactTau: true, starts: (_b, _r, i) => i },
  tau_minus_one_exactly: { B: 2, L: 12, H: 2, D: 8, W: 6, tau: -1, exactTau: true },
  fully_inactive_rows_give_zero: { B: 2, L: 19, H: 2, D: 8, W: 5, tau: -1e4, exactTau: true },
  some_rows_fully_inactive: { L: 23, H: 2, D: 8, W: 30, tau: -3 },
  tau_of_any_sign: { L: 29, H: 5, D: 16, W: 11, tau: [-2.5, -0.7, 0, 0.4, 3] },
  positive_tau_only_lifts_attended_keys: { B: 2, L: 18, H: 2, D: 8, tau: 2, starts: packed(5, 11) },
  window_wider_than_keys: { L: 13, H: 2, D: 8, W: 64, tau: -1 },
  window_of_one: { L: 17, H: 2, D: 8, W: 1, tau: -1 },
  window_as_wide_as_keys: { L: 16, H: 2, D: 8, W: 16, tau: -1 },
  window_one_short: { L: 16, H: 2, D: 8, W: 15, tau: -1 },
  window_inside_documents: { L: 30, H: 2, D: 8, W: 4, tau: -1, starts: packed(3, 17) },
  steep_bias: { L: 20, H: 2, D: 8, W: 7, bias: (h, d) => (h + 1) * (3 - d), tau: -1 },
  odd_lengths: { B: 3, L: 31, S: 47, H: 3, D: 12, W: 13, tau: -1 },
  single_token: { L: 1, H: 1, D: 4, W: 1, tau: -0.5 },
  single_key_softmax: { B: 2, L: 1, H: 2, D: 8 },
  two_tokens: { L: 2, H: 1, D: 4, W: 2, tau: -0.9 },
  grouped_query: { B: 2, L: 22, H: 6, Hkv: 2, D: 16, W: 9, tau: -1 },
  multi_query: { B: 2, L: 22, H: 4, Hkv: 1, D: 16, W: 9, tau: -1 },
  packed_documents: { B: 2, L: 41, H: 2, D: 16, W: 16, tau: -1, starts: packed(7, 8, 25) },
  left_padding: { B: 3, L: 24, H: 2, D: 16, W: 10, tau: -1, starts: leftPadding(0, 5, 23) },
  sliding_window: { L: 50, H: 2, D: 16, W: 12, tau: -1, starts: sliding(12) },
  sliding_window_of_one: { L: 12, H: 2, D: 8, tau: -0.5, starts: sliding(1) },
  chunked_prefill: { B: 2, L: 11, S: 37, H: 4, Hkv: 2, D: 16, W: 20, tau: -1 },
  chunked_prefill_of_packed_documents: { L: 11, S: 37, H: 2, D: 16, W: 20, tau: -1, starts: packed(5, 29, 33) },
  decode_single_query: { B: 3, L: 1, S: 45, H: 4, Hkv: 2, D: 16, W: 20, tau: -1 },
  decode_with_left_padding: { B: 3, L: 1, S: 30, H: 2, D: 16, W: 50, tau: -1, starts: leftPadding(0, 9, 29) },
  key_capacity_larger_than_length: { B: 2, L: 5, S: 19, H: 4, Hkv: 2, D: 16, W: 12, tau: -1, capacity: 32 },
  decode_from_a_partly_filled_cache: { B: 3, L: 1, S: 33, H: 4, Hkv: 4, D: 32, W: 64, tau: -1, capacity: 64 },
  first_token_into_an_empty_cache: { B: 2, L: 1, S: 1, H: 2, D: 8, W: 8, tau: -0.5, capacity: 16 },
  head_dim_4: { L: 21, H: 2, D: 4, W: 8, tau: -1 },
  // exp(95) is infinite in f32, and only there: rows past the end of a tile must not meet it.
  bias_of_95: { L: 30, S: 45, H: 2, D: 16, W: 60, bias: () => 95, tau: -1 },
  head_dim_12: { L: 21, H: 2, D: 12, W: 8, tau: -1 },
  head_dim_64: { L: 35, H: 2, D: 64, W: 40, tau: -1 },
  head_dim_128: { L: 20, H: 1, D: 128, W: 40, tau: -1 },
  head_dim_256: { L: 18, S: 21, H: 2, Hkv: 1, D: 256, W: 8, tau: -1 },
  given_scale: { L: 19, H: 2, D: 16, W: 4, tau: -1, scale: 0.9 },
  negative_scale: { L: 19, H: 2, D: 16, tau: -1, scale: -0.5 },
  scale_of_zero: { L: 9, H: 2, D: 8, W: 9, tau: -1.3, scale: 0 },
  lengths_at_tile_borders: { L: 64, S: 128, H: 1, D: 32, W: 64, tau: -1 },
  lengths_past_tile_borders: { L: 65, S: 129, H: 1, D: 32, W: 65, tau: -1 },
  concentrated: { B: 2, L: 32, H: 2, D: 16, W: 8, tau: -1, deviation: 2.5 },
  sink_logit: { B: 2, L: 40, H: 4, D: 32, W: 16, tau: -1, sink: [0, 1, -2, 3] },
  sink_of_zero_is_off_by_one: { L: 21, H: 2, D: 8, sink: 0 },
  sink_above_all_scores: { L: 19, H: 2, D: 8, tau: -0.5, sink: 12 },
  sink_of_minus_infinity: { L: 23, H: 2, D: 8, W: 5, tau: -1, sink: Number.NEGATIVE_INFINITY },
  sink_in_some_heads: { L: 23, H: 3, D: 8, tau: [-1, 0.5, 0], sink: [Number.NEGATIVE_INFINITY, 2, 0] },
  sink_alone_with_one_token: { B: 2, L: 1, H: 3, D: 8, sink: [0, 1, -1] },
  ...forEachInput(inputEdges),
  // Products of powers of two are exact; neighbouring scores differ by far more than exp can show.
  scores_to_1e4_do_not_overflow: {
    B: 2,
    L: 24,
    H: 2,
    D: 8,
    tau: -1,
    scale: 1,
    q: () => 32,
    k: (i) => (i % 8 === 0 ? 4 * ((Math.floor(i / 8) * 37) % 157) - 312 : 0),
    floor: 0.1,
  },
  // exp of a score of -1e4 alone is zero: the row maximum has to come out first.
  scores_all_near_minus_1e4: {
    L: 16,
    H: 2,
    D: 8,
    W: 16,
    bias: (_h, d) => -1e4 + (d % 3),
    tau: -0.5,
    q: () => 0,
    loosen: 100,
    floor: 0.1,
  },
};

/** Cases that only the full size runs; a tile or two of every kernel that tiles. */
const LARGE: Readonly<Record<string, AttentionSpec>> = {
  long: { L: 300, H: 2, D: 32, W: 128, tau: -1 },
  long_and_packed: { B: 2, L: 257, H: 2, Hkv: 1, D: 16, W: 64, tau: -1, starts: packed(3, 64, 65, 190) },
  long_chunk: { L: 70, S: 333, H: 2, D: 32, W: 300, tau: -1 },
  decode_many_heads_of_128: { L: 1, S: 70, H: 9, Hkv: 1, D: 128, W: 20, tau: -1 },
  decode_head_dim_256: { B: 2, L: 1, S: 300, H: 2, Hkv: 1, D: 256, W: 64, tau: -1 },
  // Of two sequences dtau would be a sum of two terms, which may cancel beyond what bf16 keeps of u.
  decode_head_dim_20: { B: 5, L: 1, S: 45, H: 2, D: 20, W: 20, tau: -1 },
  long_decode: { B: 2, L: 1, S: 1500, H: 4, Hkv: 2, D: 64, W: 512, tau: -1 },
  ...forEachInput(longInputs),
  long_local: { L: 290, H: 2, D: 16, W: 290, bias: (h, d) => -0.3 * (h + 1) * d, tau: -1 },
};

function shrinkToFit(spec: AttentionSpec): AttentionSpec {
  const quarter = (n: number) => Math.ceil(n / 4);
  const { S } = spec;
  return { ...spec, L: spec.L === 1 ? 1 : quarter(spec.L), ...(S === undefined ? {} : { S: quarter(S) }) };
}

const STARTS: Readonly<Record<string, (g: Generator) => Starts | undefined>> = {
  none: () => undefined,
  packed: () => packed(2, 9, 10, 23),
  leftPadding: () => leftPadding(3, 0),
  sliding: () => sliding(5),
  arbitrary: (g) => arbitrary(g.random),
};

const TAUS: Readonly<Record<string, (h: number) => number>> = {
  learned: (h) => -1 + 0.3 * h,
  strong: () => -2,
  mixed: (h) => [-1.5, 0.7, -0.4, 0][h % 4],
};

const specs = (maxLength: number) =>
  fc.record({
    B: upTo(2),
    L: upTo(maxLength),
    more: fc.integer({ min: 0, max: 12 }),
    Hkv: upTo(2),
    group: upTo(3),
    D: fc.constantFrom(4, 8, 12, 16, 20, 32, 48),
    W: fc.integer({ min: 0, max: 40 }),
    tau: fc.constantFrom('none', ...Object.keys(TAUS)),
    starts: fc.constantFrom(...Object.keys(STARTS)),
  });

type RandomSpec = ReturnType<typeof specs> extends fc.Arbitrary<infer T> ? T : never;

function toSpec(g: Generator, random: RandomSpec): AttentionSpec {
  const { B, L, more, Hkv, group, D, W } = random;
  const H = Hkv * group;
  const starts = STARTS[random.starts](g);
  return {
    ...{ B, L, S: L + more, H, Hkv, D, W },
    ...(random.tau === 'none' ? {} : { tau: Array.from({ length: H }, (_, h) => TAUS[random.tau](h)) }),
    ...(starts === undefined ? {} : { starts }),
  };
}

type Build = (g: Generator, spec: AttentionSpec) => Promise<Problem>;

function scenarios(op: Op, build: Build, differentiable: boolean): Scenario[] {
  return [
    randomised(
      op,
      40,
      (size) => specs(size === 'full' ? 30 : 12),
      (g, random) => build(g, toSpec(g, random)),
      {
        differentiable,
      },
    ),
    ...edges(op, build, differentiable, ATTENTION_EDGES),
    ...Object.entries(LARGE).map(([name, spec]) =>
      edge(op, name, (g, size) => build(g, size === 'full' ? spec : shrinkToFit(spec)), { differentiable }),
    ),
  ];
}

function edges(
  op: Op,
  build: Build,
  differentiable: boolean,
  specs: Readonly<Record<string, AttentionSpec>>,
): Scenario[] {
  return Object.entries(specs).map(([name, spec]) =>
    edge(op, name, (g) => build(g, spec), { differentiable: differentiable && spec.capacity === undefined }),
  );
}

/** Scenarios of problems that are given. */
export function attentionScenarios(specs: Readonly<Record<string, AttentionSpec>>): Scenario[] {
  return edges('attention', attentionProblem, true, specs);
}

export const attention: readonly Scenario[] = [
  ...scenarios('attention', attentionProblem, true),
  ...scenarios('attentionWeights', weightsProblem, false),
];
