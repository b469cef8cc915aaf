import type { ReduceFunction } from '@lazy-attention/core';
import { ELEMENTWISE_THREADS, index } from './elementwise.ts';
import { LOGARITHM } from './functions.ts';
import { kernel, read, type Scalar, write } from './kernel.ts';
import { LOWEST, RANK } from './numbers.ts';
import type { Reduction } from './reduction.ts';

/** How entries become one: by an invocation, across those of a row, and the result. */
interface Reducer {
  readonly start: string;
  /** Sees `value`, an f32, and its place `j`. Places only grow. */
  readonly step: string;
  /** Leaves every invocation of the row with the whole. */
  readonly across: string;
  readonly result: string;
  readonly reductions: readonly Reduction[];
  readonly declarations?: string;
}

const SUM: Reducer = {
  start: 'var sum = 0.0;',
  step: 'sum += value;',
  across: 'sum = total(sum, lane);',
  result: 'sum',
  reductions: ['total'],
};

const extreme = (sign: '' | '-'): Reducer => ({
  start: 'var best = 0u;',
  step: `best = max(best, rank(${sign}value));`,
  across: 'best = highest(best, lane);',
  result: `${sign}valueOf(best)`,
  reductions: ['highest'],
  declarations: RANK,
});

/**
 * Largest entry so far and sum of exp(value - largest). `worst` finds NaN and Infinity; the sum is at least 1 unless all
 * entries are -Infinity.
 */
const LOG_SUM_EXP: Reducer = {
  start: `
    var worst = 0u;
    var top = ${LOWEST};
    var sum = 0.0;`,
  step: `
    worst = max(worst, rank(value));
    let factor = exp(-abs(value - top));
    sum = select(sum + factor, sum * factor + 1.0, value > top);
    top = max(top, value);`,
  across: `
    worst = highest(worst, lane);
    let largestOfAll = largest(top, lane);
    sum = total(sum * exp(top - largestOfAll), lane);
    top = largestOfAll;`,
  result: 'logSumExp(worst, top, sum)',
  reductions: ['total', 'largest', 'highest'],
  declarations: `${RANK}${LOGARITHM}
    fn logSumExp(worst: u32, top: f32, sum: f32) -> f32 {
      // The rank of Infinity, of NaN, and of -Infinity alone.
      if (worst >= 0xff800000u || worst == 0x007fffffu) { return valueOf(worst); }
      return top + log4(vec4<f32>(sum)).x;
    }`,
};

const REDUCERS: Readonly<Record<ReduceFunction, Reducer>> = {
  sum: SUM,
  mean: { ...SUM, result: 'sum / params.divisor' },
  max: extreme(''),
  min: extreme('-'),
  logSumExp: LOG_SUM_EXP,
  argmax: {
    start: `
      var best = 0u;
      var place = 0u;`,
    step: `
      let mine = rank(value);
      if (mine > best) {
        best = mine;
        place = j;
      }`,
    across: `
      let top = highest(best, lane);
      place = lowest(select(0xffffffffu, place, best == top), lane);`,
    result: 'place',
    reductions: ['highest', 'lowest'],
    declarations: RANK,
  },
};

type ReduceVariant = { readonly fn: ReduceFunction; readonly type: Scalar; readonly to: Scalar | 'i32' };

/**
 * x is [outer, length, inner]. `length` falls into `splits` parts of `perSplit`; part s of (o, i) is entry (o, s, i) of the
 * result. `divisor` is that of a mean.
 */
const REDUCE_PARAMS = {
  results: 'u32',
  length: 'u32',
  inner: 'u32',
  splits: 'u32',
  perSplit: 'u32',
  divisor: 'f32',
} as const;

/** Where the entries of result `i` lie: `first` to `end` of the axis, the first of them at `base`. */
const ENTRIES = `
  let split = (i / params.inner) % params.splits;
  let first = split * params.perSplit;
  let end = min(first + params.perSplit, params.length);
  let base = i / (params.inner * params.splits) * params.length * params.inner + i % params.inner;`;

/** inner = 1: a workgroup per result. Grid: results. */
export const reduceRows = kernel({
  name: 'reduceRows',
  params: REDUCE_PARAMS,
  text: ({ fn, type, to }: ReduceVariant) => {
    const { start, step, across, result, reductions, declarations = '' } = REDUCERS[fn];
    return {
      buffers: { x: read(type), out: write(to) },
      workgroupSize: 'row',
      reductions,
      declarations,
      body: `
        let i = group.y * groups.x + group.x;
        if (i >= params.results) { return; }
        ${ENTRIES}
        ${start}
        for (var j = first + lane; j < end; j += rowThreads) {
          let value = f32(x[base + j]);
          ${step}
        }
        ${across}
        if (lane == 0u) { out[i] = ${to}(${result}); }`,
    };
  },
});

/** An invocation per result; neighbours read neighbours. Grid over results. */
export const reduceColumns = kernel({
  name: 'reduceColumns',
  params: REDUCE_PARAMS,
  text: ({ fn, type, to }: ReduceVariant) => {
    const { start, step, result, declarations = '' } = REDUCERS[fn];
    return {
      buffers: { x: read(type), out: write(to) },
      workgroupSize: ELEMENTWISE_THREADS,
      declarations,
      body: `
        ${index('results')}
        ${ENTRIES}
        ${start}
        for (var j = first; j < end; j++) {
          let value = f32(x[base + j * params.inner]);
          ${step}
        }
        out[i] = ${to}(${result});`,
    };
  },
});
