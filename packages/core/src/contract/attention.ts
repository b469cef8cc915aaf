import type { KernelTensor } from './tensor.ts';

/**
 * What attention may be given to learn, beside q, k and v, in the statistics type. Options, checks, inputs of kernels, gradients,
 * recording and a model's parameters all follow from this table: docs/guides/add-an-attention-input.md. `axes` is its shape in the
 * letters of spec §Shapes and symbols, `init` what a model begins with.
 */
export const LEARNED_INPUTS = {
  /** [H, W] added to the score at relative distance d < W; -Infinity masks. Without it: nothing is added. */
  bias: { axes: 'HW', init: 0 },
  /** [H] offset of Elastic-Softmax. Without it: plain softmax. */
  tau: { axes: 'H', init: -1 },
  /** [H] logit of an imaginary key whose value is zero, spec §Sink logit. Without it: none. */
  sink: { axes: 'H', init: 0 },
} as const satisfies Readonly<Record<string, { readonly axes: 'H' | 'HW'; readonly init: number }>>;

/** The name of a learned input. */
export type LearnedInput = keyof typeof LEARNED_INPUTS;

/** Something for each learned input. */
export type Learned<T> = { readonly [Name in keyof typeof LEARNED_INPUTS]: T };

/** Something for the gradient of each learned input: dbias for bias. */
export type LearnedGrads<T> = { readonly [Name in keyof typeof LEARNED_INPUTS as `d${Name}`]: T };

/** In the order of the table, which is that of every list of them. */
export const LEARNED_NAMES = Object.keys(LEARNED_INPUTS) as readonly LearnedInput[];

/** The names of the learned inputs [H]. */
export type PerHeadInput = {
  [Name in LearnedInput]: (typeof LEARNED_INPUTS)[Name]['axes'] extends 'H' ? Name : never;
}[LearnedInput];

/** Something for each learned input [H]. */
export type PerHead<T> = Pick<Learned<T>, PerHeadInput>;

/** As `LEARNED_NAMES`, of the inputs [H]. */
export const PER_HEAD_NAMES = LEARNED_NAMES.filter(
  (name): name is PerHeadInput => LEARNED_INPUTS[name].axes === 'H',
) as readonly PerHeadInput[];

/** `of` each learned input [H]. */
export function perHead<T>(of: (name: PerHeadInput) => T): PerHead<T> {
  const all: Partial<Record<PerHeadInput, T>> = {};
  for (const name of PER_HEAD_NAMES) all[name] = of(name);
  return all as PerHead<T>;
}

/** `of` each learned input. */
export function learned<T>(of: (name: LearnedInput) => T): Learned<T> {
  const all: Partial<Record<LearnedInput, T>> = {};
  for (const name of LEARNED_NAMES) all[name] = of(name);
  return all as Learned<T>;
}

/** `of` each learned input, under the name of its gradient. */
export function learnedGrads<T>(of: (name: LearnedInput) => T): LearnedGrads<T> {
  const all: Record<string, T> = {};
  for (const name of LEARNED_NAMES) all[`d${name}`] = of(name);
  return all as LearnedGrads<T>;
}

/** Sizes of an attention problem in the letters of spec §Shapes and symbols. */
export interface AttentionSizes {
  /** B */
  readonly batch: number;
  /** L */
  readonly queryLength: number;
  /** S: keys in use. Query row r has absolute position r + S - L. */
  readonly keyLength: number;
  /** Rows that k and v have room for, S or more: k is [B, keyCapacity, Hkv, D]. More only when nothing is saved. */
  readonly keyCapacity: number;
  /** H */
  readonly heads: number;
  /** Hkv, divides H; query head h reads key/value head floor(h / (H / Hkv)). */
  readonly kvHeads: number;
  /** D: a multiple of 4, at most 256 */
  readonly headDim: number;
  /** W: width of the bias table, 0 without bias. May exceed S. */
  readonly window: number;
}

/** Operands of spec §Forward. A learned input that was not given is null. */
export interface AttentionInputs<B extends object = object> extends Learned<KernelTensor<B> | null> {
  /** Sizes of the problem. */
  readonly sizes: AttentionSizes;
  /** Factor on q . k. */
  readonly scale: number;
  /** [B, L, H, D] */
  readonly q: KernelTensor<B>;
  /** [B, keyCapacity, Hkv, D] */
  readonly k: KernelTensor<B>;
  /** [B, keyCapacity, Hkv, D] */
  readonly v: KernelTensor<B>;
  /** [B, L] i32, 0 <= starts[b, r] <= r + S - L, not decreasing along r */
  readonly starts: KernelTensor<B> | null;
}

/** Operands of Elastic-Softmax on given scores. */
export interface ElasticSoftmaxInputs<B extends object = object> {
  /** [B, H, L, S]; row r attends keys starts..r + S - L */
  readonly scores: KernelTensor<B>;
  /** [H] in the statistics type; null is plain softmax */
  readonly tau: KernelTensor<B> | null;
  /** [B, L] i32, as in `AttentionInputs` */
  readonly starts: KernelTensor<B> | null;
}
