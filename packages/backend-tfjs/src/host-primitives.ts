import type { BinaryFunction, BroadcastView, RearrangeView, ReduceFunction, ReduceView } from '@lazy-attention/core';
import type { HostKernel, Memory } from './host-kernel.ts';
import { forEachRun } from './runs.ts';

/** The functions of two numbers that wasm has wrong where there is a NaN, or slow. NaN: as in the contract. */
const PAIRWISE: Partial<Record<BinaryFunction, (a: number, b: number) => number>> = {
  pow: (a, b) => {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN;
    // JavaScript says NaN here, IEEE 1.
    return a === 1 || (a === -1 && !Number.isFinite(b)) ? 1 : a ** b;
  },
  max: Math.max,
  min: Math.min,
  less: (a, b) => (a < b ? 1 : 0),
  lessEqual: (a, b) => (a <= b ? 1 : 0),
  equal: (a, b) => (a === b ? 1 : 0),
  keep: (a, b) => (a === 0 ? 0 : b),
};

/** Attributes of `BINARY`: the view without the result's full shape. */
export type BinaryAttributes = Omit<BroadcastView, 'shape'> & { readonly fn: BinaryFunction };

/** True for the functions that `BINARY` has. */
export function hasHostBinary(fn: BinaryFunction): boolean {
  return PAIRWISE[fn] !== undefined;
}

/** `binary` for the functions of `hasHostBinary`. */
export const BINARY: HostKernel<BinaryAttributes> = {
  name: 'LazyAttentionBinary',
  fill(output, [a, b], { fn, sizes, stridesA, stridesB }) {
    const pairwise = PAIRWISE[fn] as (a: number, b: number) => number;
    const last = sizes.length - 1;
    const [length, stepA, stepB] = [sizes[last], stridesA[last], stridesB[last]];
    const operands = [stridesA, stridesB].map((strides) => ({ offset: 0, strides }));
    forEachRun(sizes, operands, (at, [fromA, fromB]) => {
      for (let i = 0; i < length; i++) output[at + i] = pairwise(a[fromA + i * stepA], b[fromB + i * stepB]);
    });
  },
};

/** One number from the `length` entries x[at], x[at + step], ... */
type Reducer = (x: Memory, at: number, length: number, step: number) => number;

const sum: Reducer = (x, at, length, step) => {
  let total = 0;
  for (let j = 0; j < length; j++) total += x[at + j * step];
  return total;
};

/** Math.max and Math.min give NaN for NaN. */
const extreme =
  (better: (a: number, b: number) => number): Reducer =>
  (x, at, length, step) => {
    let best = x[at];
    for (let j = 1; j < length; j++) best = better(best, x[at + j * step]);
    return best;
  };

const largest = extreme(Math.max);

const REDUCERS: Readonly<Record<ReduceFunction, Reducer>> = {
  sum,
  mean: (x, at, length, step) => sum(x, at, length, step) / length,
  max: largest,
  min: extreme(Math.min),
  logSumExp(x, at, length, step) {
    const max = largest(x, at, length, step);
    // An infinite maximum is the result; less itself it would be NaN.
    if (!Number.isFinite(max)) return max;
    let total = 0;
    for (let j = 0; j < length; j++) total += Math.exp(x[at + j * step] - max);
    return max + Math.log(total);
  },
  argmax(x, at, length, step) {
    let best = 0;
    for (let j = 0; j < length; j++) {
      const value = x[at + j * step];
      if (Number.isNaN(value)) return j;
      if (value > x[at + best * step]) best = j;
    }
    return best;
  },
};

/** Every function of `reduce`, in double precision. */
export const REDUCE: HostKernel<ReduceView & { readonly fn: ReduceFunction }> = {
  name: 'LazyAttentionReduce',
  fill(output, [x], { fn, outer, length, inner }) {
    const reducer = REDUCERS[fn];
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) output[o * inner + i] = reducer(x, o * length * inner + i, length, inner);
    }
  },
};

/** `rearrange` of any element type and any number of axes. */
export const REARRANGE: HostKernel<Omit<RearrangeView, 'shape'>> = {
  name: 'LazyAttentionRearrange',
  fill(output, [x], { sizes, strides }) {
    const last = sizes.length - 1;
    const [length, step] = [sizes[last], strides[last]];
    forEachRun(sizes, [{ offset: 0, strides }], (at, [from]) => {
      if (step === 1) output.set(x.subarray(from, from + length), at);
      else for (let i = 0; i < length; i++) output[at + i] = x[from + i * step];
    });
  },
};
