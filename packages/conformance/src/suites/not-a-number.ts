import { type AttentionOptions, type Backend, type FloatDType, roundTo, type TensorData } from '@lazy-attention/core';
import { type Case, caseName, type Op, type Tolerance } from '../case.ts';
import { ConformanceError, type Results, relativeError } from '../compare.ts';
import { evaluate, oracle } from '../evaluate.ts';
import { Generator, type HostTensor, type Problem, type Tensors } from '../problem.ts';
import { type AttentionSpec, attentionInputs, present } from './attention-problem.ts';

/*
 * spec §Not a number: what is no number in float64 is no number anywhere. Where the oracle has a number, a backend may
 * have none, because products with a weight of zero may be left out or not; but never in a batch entry that the NaN is
 * not in.
 */

const BAD = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

type Name = 'q' | 'k' | 'v' | 'bias' | 'tau';

/** What runs on the spoilt inputs. */
interface Way {
  readonly op: Op;
  readonly direction: 'forward' | 'backward';
  /** Inputs that it reads. */
  readonly reads: readonly Name[];
  readonly spec: AttentionSpec;
  problem(g: Generator, inputs: Inputs, options: Options): Problem;
}

type Inputs = Record<string, HostTensor>;
type Options = (x: Tensors) => AttentionOptions;

const ALL: readonly Name[] = ['q', 'k', 'v', 'bias', 'tau'];
const TRAINING: AttentionSpec = { B: 2, L: 41, H: 4, Hkv: 2, D: 16, W: 9 };
const DECODING: AttentionSpec = { B: 2, L: 1, S: 45, H: 4, Hkv: 2, D: 16, W: 50, capacity: 64 };

const attending =
  (save: boolean) =>
  (_g: Generator, inputs: Inputs, options: Options): Problem => ({
    inputs,
    forward: (ops, x) => ({ y: ops.attention(x.q, x.k, x.v, { ...options(x), save }).output }),
  });

const WAYS: Readonly<Record<string, Way>> = {
  training: { op: 'attention', direction: 'forward', reads: ALL, spec: TRAINING, problem: attending(true) },
  inference: { op: 'attention', direction: 'forward', reads: ALL, spec: TRAINING, problem: attending(false) },
  decoding: { op: 'attention', direction: 'forward', reads: ALL, spec: DECODING, problem: attending(false) },
  weights: {
    op: 'attentionWeights',
    direction: 'forward',
    reads: ['q', 'k', 'bias', 'tau'],
    spec: TRAINING,
    problem: (_g, inputs, options: Options) => ({
      inputs,
      forward: (ops, x) => ({ weights: ops.attentionWeights(x.q, x.k, options(x)) }),
    }),
  },
  gradient: {
    op: 'attention',
    direction: 'backward',
    reads: ALL,
    spec: TRAINING,
    problem: (g, inputs, options: Options) => ({
      inputs,
      forward: (ops, x) => ({ y: ops.attention(x.q, x.k, x.v, options(x)).output }),
      backward: (ops, x, dy) => {
        const { saved } = ops.attention(x.q, x.k, x.v, options(x));
        const { dq, dk, dv, dbias, dtau } = ops.attentionGrad(dy, saved);
        return present({ q: dq, k: dk, v: dv, bias: dbias, tau: dtau });
      },
      dy: g.operand(inputs.q.shape),
    }),
  },
};

/** One entry of `host` replaced: in batch entry 0 of q, k and v, in head 1 of bias and tau. */
function spoilt(name: Name, host: HostTensor, value: number): HostTensor {
  const values = host.values.slice();
  const [, length, heads, dim] = host.shape;
  // Not in the first rows, so that rows without it are there too; of a cache, a row in use.
  const row = Math.min(5, length - 1);
  const at = { q: row * heads * dim + 3, k: row * heads * dim + 3, v: row * heads * dim + 3, bias: length + 2, tau: 1 };
  values[at[name]] = value;
  return { ...host, values };
}

/** Whether a NaN in `name` cannot reach this result: it is in the other entry of the batch. */
const isApart = (name: Name, result: string, i: number, count: number) =>
  name !== 'bias' && name !== 'tau' && result !== 'bias' && result !== 'tau' && i >= count / 2;

/** Throws where the oracle has no number and the backend has one, and where both have one that differs. */
function assertKept(
  label: string,
  actual: Results,
  expected: Results,
  allowed: number,
  { dtype, apart }: { dtype: FloatDType; apart(result: string, i: number, count: number): boolean },
): void {
  for (const [name, { values: wanted }] of Object.entries(expected)) {
    const { values } = actual[name];
    const both: [got: number, want: number][] = [];
    for (let i = 0; i < wanted.length; i++) {
      // What the type cannot hold is Infinity in it.
      const right = Number.isFinite(roundTo(dtype, wanted[i]));
      if (Number.isFinite(values[i]) && !right) {
        throw new ConformanceError(`${label}: ${name}, element ${i}, is ${values[i]}; the oracle has ${wanted[i]}`);
      }
      if (!Number.isFinite(values[i]) && right && apart(name, i, wanted.length)) {
        throw new ConformanceError(
          `${label}: ${name}, element ${i}, is ${values[i]}; the oracle has ${wanted[i]}, which nothing there reaches`,
        );
      }
      if (Number.isFinite(values[i]) && right) both.push([values[i], wanted[i]]);
    }
    const of = (side: 0 | 1): TensorData => Float64Array.from(both, (pair) => pair[side]);
    const error = relativeError(of(0), of(1), 1e-2);
    if (!(error <= allowed)) {
      throw new ConformanceError(`${label}: ${name} is off by ${error.toExponential(2)} where both are numbers`);
    }
  }
}

/** Every input of every way, with and without tau. */
function spoiltCases(dtype: FloatDType, tolerance: Tolerance): Case[] {
  return Object.entries(WAYS).flatMap(([way, { op, direction, reads, spec, problem }]) =>
    [true, false].flatMap((withTau) =>
      reads
        .filter((name) => withTau || name !== 'tau')
        .map((name): Case => {
          const title = `not_a_number_in_${name}_${way}_${withTau ? 'with' : 'without'}_tau`;
          const allowed = direction === 'forward' ? tolerance.output : tolerance.gradient;
          return {
            name: caseName(op, title, direction, dtype),
            op,
            direction,
            dtype,
            run: async (backend) => {
              for (const value of BAD) {
                const g = new Generator(dtype, title);
                const { inputs, options } = await attentionInputs(g, withTau ? { ...spec, tau: -1 } : spec);
                const bad = { ...inputs, [name]: spoilt(name, inputs[name], value) };
                const made = problem(g, bad, options);
                const actual = await evaluate(backend, made, dtype, direction);
                const expected = await evaluate(oracle(), made, 'f64', direction);
                const apart = (result: string, i: number, count: number) => isApart(name, result, i, count);
                assertKept(`${value} in ${name}`, actual, expected, allowed, { dtype, apart });
              }
            },
          };
        }),
    ),
  );
}

/** A head's bias, by distance: a legal mask, or a row without a key to attend. */
const MASKS: Readonly<Record<string, Required<Pick<AttentionSpec, 'bias' | 'W'>>>> = {
  mask_by_infinite_bias: { W: 9, bias: (h, d) => (d % 3 === h % 3 && d > 0 ? Number.NEGATIVE_INFINITY : 0.1 * d) },
  mask_of_the_token_itself: { W: 4, bias: (_h, d) => (d === 0 ? Number.NEGATIVE_INFINITY : 0) },
  mask_of_every_key: { W: 50, bias: (h) => (h === 1 ? Number.NEGATIVE_INFINITY : 0) },
};

/** What is summed over rows, and so may take NaN from a row without a key through a weight of zero. */
const SUMS: ReadonlySet<string> = new Set(['k', 'v', 'bias', 'tau']);

/** Exactly the oracle's numbers, and NaN exactly where it has NaN, but for sums over rows where one is without a key. */
function maskCases(dtype: FloatDType, tolerance: Tolerance): Case[] {
  return Object.entries(MASKS).flatMap(([mask, { W, bias }]) =>
    Object.entries(WAYS).flatMap(([way, { op, direction, spec, problem }]) =>
      [-1, 0.5, undefined].map((tau): Case => {
        const title = `not_a_number_${mask}_${way}_${tau === undefined ? 'without_tau' : `with_tau_${tau}`}`;
        const allowed = direction === 'forward' ? tolerance.output : tolerance.gradient;
        return {
          name: caseName(op, title, direction, dtype),
          op,
          direction,
          dtype,
          run: async (backend) => {
            const g = new Generator(dtype, title);
            const masked: AttentionSpec = { ...spec, W, bias, ...(tau === undefined ? {} : { tau }) };
            const { inputs, options } = await attentionInputs(g, masked);
            const made = problem(g, inputs, options);
            const actual = await evaluate(backend, made, dtype, direction);
            const expected = await evaluate(oracle(), made, 'f64', direction);
            const apart = (result: string) => mask === 'mask_by_infinite_bias' || !SUMS.has(result);
            assertKept(mask, actual, expected, allowed, { dtype, apart });
          },
        };
      }),
    ),
  );
}

/** elasticSoftmax on scores, where -Infinity is a mask. */
function scoreCases(dtype: FloatDType, tolerance: Tolerance): Case[] {
  const directions = ['forward', 'backward'] as const;
  return directions.flatMap((direction) =>
    [true, false].map((withTau): Case => {
      const title = `not_a_number_in_scores_${withTau ? 'with' : 'without'}_tau`;
      return {
        name: caseName('elasticSoftmax', title, direction, dtype),
        op: 'elasticSoftmax',
        direction,
        dtype,
        run: async (backend) => {
          for (const value of BAD) {
            const g = new Generator(dtype, title);
            const scores = g.operand([2, 3, 19, 23], 1);
            // Single keys, and every key that row 1 of head 2 attends.
            const at = [4, 23 + 1, 19 * 23 + 5 * 23 + 2, 2 * 19 * 23 + 23];
            for (const i of at) scores.values[i] = value;
            for (let j = 0; j < 6; j++) scores.values[at[3] + j] = value;
            const inputs = { scores, ...(withTau ? { tau: g.statisticsOf([3], (h) => -0.4 - 0.1 * h) } : {}) };
            const problem: Problem = {
              inputs,
              forward: (ops, x) => ({ y: ops.elasticSoftmax(x.scores, present({ tau: x.tau })) }),
              backward: (ops, x, dy) => {
                const { dscores, dtau } = ops.elasticSoftmaxGrad(dy, x.scores, present({ tau: x.tau }));
                return present({ scores: dscores, tau: dtau });
              },
              dy: g.operand(scores.shape),
            };
            const actual = await evaluate(backend, problem, dtype, direction);
            const expected = await evaluate(oracle(), problem, 'f64', direction);
            const allowed = direction === 'forward' ? tolerance.output : tolerance.gradient;
            // A score of -Infinity is a mask, so only the row without a key is NaN, also where it attends nothing.
            const masks = value === Number.NEGATIVE_INFINITY;
            const empty = (i: number) => i >= at[3] && i < at[3] + 23;
            const apart = (result: string, i: number, count: number) =>
              result !== 'tau' && (masks ? !empty(i) : i >= count / 2);
            assertKept(`${value} in scores`, actual, expected, allowed, { dtype, apart });
          }
        },
      };
    }),
  );
}

/** An output too large for f16 is Infinity there, and not the largest number. */
function overflowCase(): Case {
  return {
    name: caseName('attention', 'not_a_number_when_the_output_overflows', 'forward', 'f16'),
    op: 'attention',
    direction: 'forward',
    dtype: 'f16',
    run: async (backend: Backend) => {
      const g = new Generator('f16', 'half');
      const { inputs, options } = await attentionInputs(g, { L: 20, H: 2, D: 16, tau: 3, exactTau: true });
      const v = g.operandOf(inputs.v.shape, (i) => (i % 2 === 0 ? 6e4 : 1));
      for (const way of [WAYS.training, WAYS.inference]) {
        const problem = way.problem(g, { ...inputs, v }, options);
        const actual = await evaluate(backend, problem, 'f16', 'forward');
        const expected = await evaluate(oracle(), problem, 'f64', 'forward');
        assertKept('v of 6e4', actual, expected, 1e-2, { dtype: 'f16', apart: () => true });
      }
    },
  };
}

/** NaN and infinities in attention and elasticSoftmax. */
export function notANumber(dtype: FloatDType, tolerance: Tolerance): Case[] {
  const cases = [...spoiltCases(dtype, tolerance), ...maskCases(dtype, tolerance), ...scoreCases(dtype, tolerance)];
  return dtype === 'f16' ? [...cases, overflowCase()] : cases;
}
