import fc from 'fast-check';
import { oracle } from '../evaluate.ts';
import type { Generator, HostTensor, Problem, Tensors } from '../problem.ts';
import { toTensors } from '../problem.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';
import { arbitrary, leftPadding, packed, type Starts, sliding } from './starts.ts';
import { assertSettled, settleTau } from './tau.ts';

interface Spec {
  readonly B?: number;
  readonly H?: number;
  readonly L: number;
  readonly S?: number;
  readonly tau?: number | readonly number[];
  readonly exactTau?: boolean;
  readonly starts?: Starts;
  readonly scores?: (i: number) => number;
  readonly floor?: number;
}

async function weights(g: Generator, spec: Spec): Promise<Problem> {
  const { B = 1, H = 2, L, S = L, starts } = spec;
  const shape = [B, H, L, S] as const;
  const inputs: Record<string, HostTensor> = {
    scores: spec.scores === undefined ? g.operand(shape, 1.5) : g.operandOf(shape, spec.scores),
  };
  if (starts !== undefined) {
    inputs.starts = g.indices([B, L], (i) => starts(Math.floor(i / L), i % L, (i % L) + S - L));
  }
  if (spec.tau !== undefined) {
    const wanted = typeof spec.tau === 'number' ? Array.from({ length: H }, () => spec.tau as number) : spec.tau;
    const probabilities = { shape, p: await softmaxOf(inputs), starts: inputs.starts?.values ?? null };
    if (spec.exactTau) assertSettled(wanted, probabilities);
    const tau = spec.exactTau ? wanted : settleTau(wanted, probabilities, g.dtype);
    inputs.tau = g.statisticsOf([H], (h) => tau[h]);
  }
  return {
    inputs,
    forward: (ops, x) => ({ y: ops.elasticSoftmax(x.scores, options(x)) }),
    backward: (ops, x, dy) => {
      const { dscores, dtau } = ops.elasticSoftmaxGrad(dy, x.scores, options(x));
      return { scores: dscores, ...(dtau === undefined ? {} : { tau: dtau }) };
    },
    dy: g.operand(shape),
    // A row with one key has no gradient.
    floor: spec.floor ?? 1e-2,
  };
}

const options = (x: Tensors) => ({ tau: x.tau, starts: x.starts });

async function softmaxOf(inputs: Readonly<Record<string, HostTensor>>) {
  const x = toTensors(oracle(), inputs, 'f64');
  const softmax = oracle().elasticSoftmax(x.scores, { starts: x.starts });
  const p = await softmax.data();
  for (const tensor of [...Object.values(x), softmax]) tensor.dispose();
  return p;
}

const EDGES: Readonly<Record<string, Spec>> = {
  softmax: { L: 13 },
  zero_tau_equals_softmax: { L: 13, tau: 0, exactTau: true },
  first_token_gives_zero_with_tau_minus_one: { B: 2, L: 1, tau: -1, exactTau: true },
  tau_minus_one_exactly: { L: 11, tau: -1, exactTau: true },
  fully_inactive_rows_give_zero: { B: 2, L: 9, tau: -1e4, exactTau: true },
  tau_of_any_sign: { H: 5, L: 15, tau: [-2.5, -0.7, 0, 0.4, 3] },
  positive_tau_only_lifts_attended_keys: { L: 12, S: 17, tau: 2, starts: packed(9) },
  packed_documents: { B: 2, L: 21, tau: -1, starts: packed(4, 5, 16) },
  left_padding: { B: 2, L: 14, tau: -1, starts: leftPadding(0, 6) },
  sliding_window: { L: 20, tau: -1, starts: sliding(6) },
  chunked_prefill: { B: 2, L: 5, S: 23, tau: -1 },
  decode_single_query: { B: 3, L: 1, S: 29, tau: -1 },
  odd_lengths: { B: 3, H: 3, L: 7, S: 131, tau: -1 },
  wide_rows: { H: 1, L: 3, S: 1100, tau: -1 },
  scores_to_1e4_do_not_overflow: { L: 12, tau: -1, scores: (i) => 512 * (((i * 7) % 37) - 18), floor: 0.1 },
};

const specs = () =>
  fc.record({
    B: upTo(2),
    H: upTo(4),
    L: upTo(20),
    more: fc.integer({ min: 0, max: 9 }),
    tau: fc.constantFrom(undefined, -1, -2, 0.5),
    starts: fc.boolean(),
  });

export const elasticSoftmax: readonly Scenario[] = [
  randomised('elasticSoftmax', 25, specs, (g, { B, H, L, more, tau, starts }) =>
    weights(g, {
      ...{ B, H, L, S: L + more },
      ...(tau === undefined ? {} : { tau }),
      ...(starts ? { starts: arbitrary(g.random) } : {}),
    }),
  ),
  ...Object.entries(EDGES).map(([name, spec]) => edge('elasticSoftmax', name, (g) => weights(g, spec))),
];
