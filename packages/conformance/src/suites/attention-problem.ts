import { type AttentionOptions, learned, PER_HEAD_NAMES, type PerHead, type Tensor } from '@lazy-attention/core';
import { oracle } from '../evaluate.ts';
import { type Generator, type HostTensor, type Problem, type Tensors, toTensors } from '../problem.ts';
import type { Starts } from './starts.ts';
import { assertSettled, settleTau } from './tau.ts';

/**
 * An attention problem in the letters of spec §Shapes and symbols. Inputs [H] are given as one value for all heads or one for
 * each, and are not there without it; tau is moved off the kinks of the ReLU (see `settleTau`).
 */
export interface AttentionSpec extends Partial<PerHead<number | readonly number[]>> {
  /** Sequences; default 1. */
  readonly B?: number;
  /** Queries. */
  readonly L: number;
  /** Default L. */
  readonly S?: number;
  /** Heads; default 1. */
  readonly H?: number;
  /** Default H. */
  readonly Hkv?: number;
  /** Entries of a head. */
  readonly D: number;
  /** Width of the bias table; no bias without it. */
  readonly W?: number;
  /** The bias itself instead of a random one, at [h, d]. */
  readonly bias?: (h: number, d: number) => number;
  /** Take tau as it is. */
  readonly exactTau?: boolean;
  /** First key that each row attends; none without it. */
  readonly starts?: Starts;
  /** Of the scores; default 1 / sqrt(D). */
  readonly scale?: number;
  /** Rows of k and v; those beyond S are NaN and must not be read. */
  readonly capacity?: number;
  /** Deviation of q and of k. */
  readonly deviation?: number;
  /** q and k themselves, by flat index. */
  readonly q?: (i: number) => number;
  /** k by flat index instead of random values. */
  readonly k?: (i: number) => number;
  /** As in `Problem`. */
  readonly floor?: number;
  /** As in `Problem`. */
  readonly loosen?: number;
}

type Inputs = Record<string, HostTensor>;

/** y is the output; the gradient is that of q, k, v and of the learned inputs that are there. */
export async function attentionProblem(g: Generator, spec: AttentionSpec): Promise<Problem> {
  const { inputs, options, differentiable } = await attentionInputs(g, spec);
  const problem: Problem = {
    inputs,
    forward: (ops, x) => ({
      y: ops.attention(x.q, x.k, x.v, { ...options(x), save: differentiable }).output,
      // Inference may take another path than training.
      inference: ops.attention(x.q, x.k, x.v, { ...options(x), save: false }).output,
    }),
    ...(spec.loosen === undefined ? {} : { loosen: spec.loosen }),
  };
  if (!differentiable) return { ...problem, ...(spec.floor === undefined ? {} : { floor: spec.floor }) };
  return {
    ...problem,
    backward: (ops, x, dy) => {
      const { saved } = ops.attention(x.q, x.k, x.v, options(x));
      const { dq, dk, dv, ...grads } = ops.attentionGrad(dy, saved);
      return present({ q: dq, k: dk, v: dv, ...learned((name) => grads[`d${name}`]) });
    },
    dy: g.operand(inputs.q.shape),
    // Gradients of scores sum to zero along a row, so a row with one key has none at all.
    floor: spec.floor ?? 1e-2,
  };
}

export async function weightsProblem(g: Generator, spec: AttentionSpec): Promise<Problem> {
  const { inputs, options } = await attentionInputs(g, spec);
  return {
    inputs,
    forward: (ops, x) => ({ weights: ops.attentionWeights(x.q, x.k, options(x)) }),
    ...(spec.loosen === undefined ? {} : { loosen: spec.loosen }),
  };
}

/** Host data of a problem, with tau off the kinks, and the options that go with it. */
export async function attentionInputs(g: Generator, spec: AttentionSpec) {
  const { B = 1, L, S = L, H = 1, Hkv = H, D, W = 0, starts, scale, capacity = S, deviation = 1 } = spec;
  const keys = [B, capacity, Hkv, D];
  const inputs: Inputs = {
    q: spec.q === undefined ? g.operand([B, L, H, D], deviation) : g.operandOf([B, L, H, D], spec.q),
    k: spec.k === undefined ? g.operand(keys, deviation) : g.operandOf(keys, spec.k),
    v: g.operand(keys),
  };
  if (W > 0) {
    const { bias } = spec;
    inputs.bias =
      bias === undefined ? g.statistics([H, W], 0.5) : g.statisticsOf([H, W], (i) => bias(Math.floor(i / W), i % W));
  }
  if (starts !== undefined) {
    inputs.starts = g.indices([B, L], (i) => starts(Math.floor(i / L), i % L, (i % L) + S - L));
  }
  for (const name of PER_HEAD_NAMES) {
    const value = spec[name];
    if (value === undefined || name === 'tau') continue; // which depends on all others
    inputs[name] = g.statisticsOf([H], (h) => (typeof value === 'number' ? value : value[h]));
  }
  for (const name of ['k', 'v']) eraseBeyond(inputs[name], S);
  const options = (x: Tensors): AttentionOptions =>
    present({
      ...learned((name) => x[name]),
      starts: x.starts,
      scale,
      keyLength: capacity > S ? S : undefined,
    });
  if (spec.tau !== undefined) {
    const wanted = typeof spec.tau === 'number' ? Array.from({ length: H }, () => spec.tau as number) : spec.tau;
    const probabilities = {
      shape: [B, H, L, S] as const,
      p: await softmaxOf(inputs, options),
      starts: inputs.starts?.values ?? null,
    };
    if (spec.exactTau) assertSettled(wanted, probabilities);
    const tau = spec.exactTau ? wanted : settleTau(wanted, probabilities, g.dtype);
    inputs.tau = g.statisticsOf([H], (h) => tau[h]);
  }
  return { inputs, options, differentiable: capacity === S };
}

/** p of spec §Forward, from the oracle. */
async function softmaxOf(inputs: Inputs, options: (x: Tensors) => AttentionOptions) {
  const x = toTensors(oracle(), inputs, 'f64');
  const weights = oracle().attentionWeights(x.q, x.k, options(x));
  const p = await weights.data();
  for (const tensor of [...Object.values(x), weights]) tensor.dispose();
  return p;
}

/** NaN in the rows of a cache that are not in use. */
function eraseBeyond(cache: HostTensor, length: number): void {
  const [batch, capacity, heads, dim] = cache.shape;
  for (let b = 0; b < batch; b++) {
    cache.values.fill(Number.NaN, (b * capacity + length) * heads * dim, (b + 1) * capacity * heads * dim);
  }
}

/** The entries that are there. */
export function present<T extends Record<string, Tensor | number | undefined>>(
  entries: T,
): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
