import type {
  BinaryFunction,
  BroadcastView,
  DType,
  RearrangeView,
  ReduceFunction,
  ReduceView,
  UnaryFunction,
} from '@lazy-attention/core';
import { erfc } from './erf.ts';
import { logSumExp } from './softmax.ts';
import { type Buffer, emptyLike, type RefTensor, store, values } from './storage.ts';

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** y = fn(x), by name. */
const UNARY: Readonly<Record<UnaryFunction, (x: number) => number>> = {
  neg: (x) => -x,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  abs: Math.abs,
  sign: Math.sign,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  relu: (x) => Math.max(x, 0),
  silu: (x) => x * sigmoid(x),
  // 1 + erf(z) = erfc(-z), which does not cancel.
  gelu: (x) => (x / 2) * erfc(-x / Math.SQRT2),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
};

/** out = fn(a, b), by name. */
const BINARY: Readonly<Record<BinaryFunction, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: power,
  max: Math.max,
  min: Math.min,
  less: (a, b) => (a < b ? 1 : 0),
  lessEqual: (a, b) => (a <= b ? 1 : 0),
  equal: (a, b) => (a === b ? 1 : 0),
  keep: (a, b) => (a !== 0 ? b : 0),
};

/** IEEE's pow, of which JavaScript's differs for a base of 1 or -1, but for NaN, which stays NaN. */
function power(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN;
  return Math.abs(a) === 1 && Math.abs(b) === Number.POSITIVE_INFINITY ? 1 : a ** b;
}

/** One number from `count` entries, by name. */
const REDUCE: Readonly<Record<ReduceFunction, (x: Float64Array, count: number) => number>> = {
  sum,
  mean: (x, count) => sum(x, count) / count,
  max: (x) => x.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY),
  min: (x) => x.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY),
  logSumExp: (x, count) => logSumExpOf(x, count),
  argmax: (x) => {
    const nan = x.findIndex(Number.isNaN);
    return nan >= 0 ? nan : x.indexOf(REDUCE.max(x, x.length));
  },
};

function sum(x: Float64Array, count: number): number {
  let total = 0;
  for (let j = 0; j < count; j++) total += x[j];
  return total;
}

/** An infinite maximum is the answer: the formula would take Infinity from Infinity. */
function logSumExpOf(x: Float64Array, count: number): number {
  const largest = REDUCE.max(x, count);
  return Math.abs(largest) === Number.POSITIVE_INFINITY ? largest : logSumExp(x, 0, count);
}

export function unary(x: RefTensor, fn: UnaryFunction): Buffer {
  return store(values(x).map(UNARY[fn]), x.dtype);
}

export function binary(a: RefTensor, b: RefTensor, fn: BinaryFunction, view: BroadcastView): Buffer {
  const [x, y] = [values(a), values(b)];
  const f = BINARY[fn];
  const [from, other] = [entries(view.sizes, view.stridesA), entries(view.sizes, view.stridesB)];
  const out = new Float64Array(from.length);
  for (let i = 0; i < out.length; i++) out[i] = f(x[from[i]], y[other[i]]);
  return store(out, a.dtype);
}

export function reduce(x: RefTensor, fn: ReduceFunction, view: ReduceView, dtype: DType): Buffer {
  const { outer, length, inner } = view;
  const from = values(x);
  const out = new Float64Array(outer * inner);
  const line = new Float64Array(length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      for (let j = 0; j < length; j++) line[j] = from[(o * length + j) * inner + i];
      out[o * inner + i] = REDUCE[fn](line, length);
    }
  }
  return store(out, dtype);
}

export function rearrange(x: RefTensor, { sizes, strides }: RearrangeView): Buffer {
  const from = entries(sizes, strides);
  const out = emptyLike(x.buffer, from.length);
  for (let i = 0; i < out.length; i++) out[i] = x.buffer[from[i]];
  return out;
}

/** sum(i * strides) for every entry (i0, i1, ...) of `sizes`, in order. */
function entries(sizes: readonly number[], strides: readonly number[]): Int32Array {
  let at = Int32Array.of(0);
  for (const [axis, size] of sizes.entries()) {
    const next = new Int32Array(at.length * size);
    for (let i = 0; i < next.length; i++) next[i] = at[Math.floor(i / size)] + (i % size) * strides[axis];
    at = next;
  }
  return at;
}
