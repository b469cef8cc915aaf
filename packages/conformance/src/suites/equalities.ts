import type { Backend, FloatDType, Tensor } from '@lazy-attention/core';
import type { Case, Tolerance } from '../case.ts';
import { assertClose } from '../compare.ts';
import { assertNothingLeft, readAll } from '../evaluate.ts';
import { Generator, type Tensors, toTensor } from '../problem.ts';

interface Equality {
  readonly gradient: boolean;
  /** Bit for bit. */
  readonly exact?: true;
  /** Two ways to the same results. */
  compute(backend: Backend, g: Generator): { one: Tensors; other: Tensors };
}

const HEADS = 4;
const KV_HEADS = 2;
const DIM = 16;
const LENGTHS = [7, 1, 12];
const TOTAL = 20;

/** q, k, v, bias, tau and dy of a batch of two. */
function inputs(backend: Backend, g: Generator) {
  const make = (heads: number) => toTensor(backend, g.operand([2, TOTAL, heads, DIM]), g.dtype);
  return {
    q: make(HEADS),
    k: make(KV_HEADS),
    v: make(KV_HEADS),
    dy: make(HEADS),
    bias: toTensor(backend, g.statistics([HEADS, 9], 0.5), g.dtype),
    tau: toTensor(
      backend,
      g.statisticsOf([HEADS], (h) => -0.53 - 0.21 * h),
      g.dtype,
    ),
  };
}

function startsOf(backend: Backend, lengths: readonly number[]): Tensor {
  const row = lengths.flatMap((length, i) => {
    const start = lengths.slice(0, i).reduce((a, b) => a + b, 0);
    return Array.from({ length }, () => start);
  });
  return backend.tensor(Int32Array.from([...row, ...row]), [2, row.length]);
}

/** The rows of each document in turn, put back together along the length. */
function joined(backend: Backend, compute: (start: number, end: number) => Tensor, lengths = LENGTHS): Tensor {
  let start = 0;
  let out: Tensor | undefined;
  for (const length of lengths) {
    const part = compute(start, start + length);
    out ??= backend.zeros([2, TOTAL, ...part.shape.slice(2)], part.dtype);
    backend.copyInto(out, part, 1, start);
    start += length;
  }
  return out as Tensor;
}

const EQUALITIES: Readonly<Record<string, Equality>> = {
  packed_documents_equal_documents_alone: {
    gradient: false,
    compute: (backend, g) => {
      const { q, k, v, bias, tau } = inputs(backend, g);
      const starts = startsOf(backend, LENGTHS);
      const alone = joined(backend, (start, end) => {
        const part = (x: Tensor) => backend.slice(x, 1, start, end);
        return backend.attention(part(q), part(k), part(v), { bias, tau }).output;
      });
      return { one: { y: backend.attention(q, k, v, { bias, tau, starts }).output }, other: { y: alone } };
    },
  },
  packed_documents_have_the_gradients_of_documents_alone: {
    gradient: true,
    compute: (backend, g) => {
      const { q, k, v, dy, bias, tau } = inputs(backend, g);
      const packed = backend.attention(q, k, v, { bias, tau, starts: startsOf(backend, LENGTHS) });
      const { dq, dk, dv, dbias, dtau } = backend.attentionGrad(dy, packed.saved);
      const sums: { dbias?: Tensor; dtau?: Tensor } = {};
      const parts = (name: 'dq' | 'dk' | 'dv') =>
        joined(backend, (start, end) => {
          const part = (x: Tensor) => backend.slice(x, 1, start, end);
          const { saved } = backend.attention(part(q), part(k), part(v), { bias, tau });
          const grads = backend.attentionGrad(part(dy), saved);
          if (name === 'dq') {
            for (const sum of ['dbias', 'dtau'] as const) {
              const grad = grads[sum] as Tensor;
              sums[sum] = sums[sum] === undefined ? grad : backend.add(sums[sum], grad);
            }
          }
          return grads[name];
        });
      const other = { dq: parts('dq'), dk: parts('dk'), dv: parts('dv'), ...sums };
      return { one: { dq, dk, dv, dbias, dtau } as Tensors, other: other as Tensors };
    },
  },
  chunks_equal_the_whole: {
    gradient: false,
    compute: (backend, g) => {
      const { q, k, v, bias, tau } = inputs(backend, g);
      const chunks = joined(backend, (start, end) => {
        const options = { bias, tau, keyLength: end, save: false };
        return backend.attention(backend.slice(q, 1, start, end), k, v, options).output;
      });
      return { one: { y: backend.attention(q, k, v, { bias, tau }).output }, other: { y: chunks } };
    },
  },
  tokens_one_by_one_with_a_sink_equal_the_whole: {
    gradient: false,
    compute: (backend, g) => {
      const { q, k, v, bias, tau } = inputs(backend, g);
      const sink = toTensor(backend, g.statistics([HEADS], 1), g.dtype);
      const all = { bias, tau, sink, save: false };
      const decode = (start: number, end: number) =>
        backend.attention(backend.slice(q, 1, start, end), k, v, { ...all, keyLength: end }).output;
      const one = joined(backend, decode, Array<number>(TOTAL).fill(1));
      return { one: { y: one }, other: { y: backend.attention(q, k, v, all).output } };
    },
  },
  output_is_weights_times_values: {
    gradient: false,
    compute: (backend, g) => {
      const { q, k, bias, tau } = inputs(backend, g);
      const one = { H: HEADS, D: DIM };
      // With v = 1 in one coordinate only, the output is the sum of a row's weights.
      const ones = backend.full(k.shape, 1, k.dtype);
      const { output } = backend.attention(q, k, ones, { bias, tau });
      const weights = backend.attentionWeights(q, k, { bias, tau });
      const column = backend.full([TOTAL, DIM], 1, weights.dtype);
      const sums = backend.matmul(backend.reshape(weights, [2, HEADS, TOTAL, TOTAL]), column);
      const rows = Array.from({ length: one.H }, (_, h) => {
        const inOutput = backend.reshape(backend.slice(output, 2, h, h + 1), [2, TOTAL, DIM]);
        const inWeights = backend.reshape(backend.slice(sums, 1, h, h + 1), [2, TOTAL, DIM]);
        return [inOutput, inWeights] as const;
      });
      return {
        one: Object.fromEntries(rows.map(([a], h) => [`head_${h}`, a])),
        other: Object.fromEntries(rows.map(([, b], h) => [`head_${h}`, b])),
      };
    },
  },
  sink_of_minus_infinity_is_none_bit_for_bit: {
    gradient: true,
    exact: true,
    compute: (backend, g) => {
      const { q, k, v, dy, bias, tau } = inputs(backend, g);
      const sink = backend.full([HEADS], Number.NEGATIVE_INFINITY, tau.dtype);
      const all = (sinks: { sink?: Tensor }): Tensors => {
        const { output, saved } = backend.attention(q, k, v, { bias, tau, ...sinks });
        const { dq, dk, dv, dbias, dtau } = backend.attentionGrad(dy, saved);
        const last = backend.slice(q, 1, TOTAL - 1, TOTAL);
        const decoded = backend.attention(last, k, v, { bias, tau, ...sinks, save: false }).output;
        return { y: output, dq, dk, dv, dbias: dbias as Tensor, dtau: dtau as Tensor, decoded };
      };
      return { one: all({ sink }), other: all({}) };
    },
  },
  linear_in_v: {
    gradient: false,
    compute: (backend, g) => {
      const { q, k, v, bias, tau } = inputs(backend, g);
      const attend = (values: Tensor) => backend.attention(q, k, values, { bias, tau }).output;
      return { one: { y: attend(backend.scale(v, -4)) }, other: { y: backend.scale(attend(v), -4) } };
    },
  },
};

/** Identities between runs of attention on the tested backend alone; they hold whatever the oracle says. */
export function equalities(dtype: FloatDType, tolerance: Tolerance): Case[] {
  return Object.entries(EQUALITIES).map(([name, { gradient, exact, compute }]) => ({
    name: `attention${gradient ? 'Grad' : ''} ${dtype} ${name}`,
    op: 'attention',
    direction: gradient ? 'backward' : 'forward',
    dtype,
    run: async (backend) => {
      const before = backend.memory();
      const { one, other } = backend.scope(() => compute(backend, new Generator(dtype, name)));
      try {
        const allowed = exact ? 0 : 2 * (gradient ? tolerance.gradient : tolerance.output);
        assertClose(name, await readAll(one), await readAll(other), allowed, 1e-2);
      } finally {
        for (const tensors of [one, other]) for (const tensor of Object.values(tensors)) tensor?.dispose();
      }
      assertNothingLeft(backend, before);
    },
  }));
}
