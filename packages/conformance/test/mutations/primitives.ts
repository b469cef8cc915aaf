import type { BroadcastView, UnaryFunction } from '@lazy-attention/core';
import { changed, type Mutation, type ReferenceKernels } from './mutation.ts';

type Wrong = Mutation['wrong'];
const fused = (right: ReferenceKernels) => right.decoder as Required<NonNullable<ReferenceKernels['decoder']>>;

/** One function computed by `wrong` instead. */
const unaryAs =
  (fn: UnaryFunction, wrong: (x: number) => number): Wrong =>
  (right) => ({
    unary: (x, name) => {
      const y = right.unary(x, name);
      return name === fn ? changed(y, (_, i) => wrong(x.buffer[i])) : y;
    },
  });

const viewAs =
  (change: (view: BroadcastView) => Partial<BroadcastView>): Wrong =>
  (right) => ({ binary: (a, b, fn, view) => right.binary(a, b, fn, { ...view, ...change(view) }) });

/** What is easily got wrong in the open primitives. */
const MISTAKES: Partial<Record<keyof ReferenceKernels, Record<string, Wrong>>> = {
  unary: {
    'relu of NaN is zero': unaryAs('relu', (x) => (x > 0 ? x : 0)),
    'sign of NaN is zero': unaryAs('sign', (x) => (x > 0 ? 1 : x < 0 ? -1 : 0)),
    'sign of zero is one': unaryAs('sign', (x) => (x < 0 ? -1 : x - x + 1)),
    'tanh overflows': unaryAs('tanh', (x) => (Math.exp(2 * x) - 1) / (Math.exp(2 * x) + 1)),
    'sigmoid overflows': unaryAs('sigmoid', (x) => Math.exp(x) / (1 + Math.exp(x))),
    'gelu by tanh': unaryAs('gelu', (x) => 0.5 * x * (1 + Math.tanh(0.79788456 * (x + 0.044715 * x ** 3)))),
    'sin of a rounded angle': unaryAs('sin', (x) => Math.sin(x - 6.283 * Math.round(x / 6.283))),
    'log of abs': unaryAs('log', (x) => Math.log(Math.abs(x))),
    'reciprocal of zero is zero': unaryAs('reciprocal', (x) => (x === 0 ? 0 : 1 / x)),
    'exp2 for exp': unaryAs('exp', (x) => 2 ** x),
    'silu without x': unaryAs('silu', (x) => 1 / (1 + Math.exp(-x))),
  },
  binary: {
    'adds a to itself': (right) => ({
      binary: (a, b, fn, view) => right.binary(a, fn === 'add' && a.shape === b.shape ? a : b, fn, view),
    }),
    'add leaves out the last element': (right) => ({
      binary: (a, b, fn, view) =>
        changed(right.binary(a, b, fn, view), (y, i) =>
          fn === 'add' && i > 0 && i === a.buffer.length - 1 ? (a.buffer[i] as number) : y,
        ),
    }),
    'multiplies a with itself': (right) => ({
      binary: (a, b, fn, view) =>
        fn === 'mul' ? right.binary(a, a, fn, { ...view, stridesB: view.stridesA }) : right.binary(a, b, fn, view),
    }),
    'mul is a NaN': (right) => ({
      binary: (a, b, fn, view) => changed(right.binary(a, b, fn, view), (y) => (fn === 'mul' ? Number.NaN : y)),
    }),
    'ignores the strides of a': viewAs(({ sizes }) => ({ stridesA: sizes.map(() => 0) })),
    'takes the strides of a for b': viewAs(({ stridesA }) => ({ stridesB: stridesA })),
    'changes sub of a and b': (right) => ({
      binary: (a, b, fn, view) =>
        fn === 'sub'
          ? right.binary(b, a, fn, { ...view, stridesA: view.stridesB, stridesB: view.stridesA })
          : right.binary(a, b, fn, view),
    }),
    'max of NaN is a number': (right) => ({
      binary: (a, b, fn, view) =>
        changed(right.binary(a, b, fn, view), (y) => (fn === 'max' && Number.isNaN(y) ? 0 : y)),
    }),
    'equal is true of NaN': (right) => ({
      binary: (a, b, fn, view) => {
        const sum = right.binary(a, b, 'add', view);
        return changed(right.binary(a, b, fn, view), (y, i) => (fn === 'equal' && Number.isNaN(sum[i]) ? 1 : y));
      },
    }),
    'keep multiplies': (right) => ({
      binary: (a, b, fn, view) => right.binary(a, b, fn === 'keep' ? 'mul' : fn, view),
    }),
    'less counts equals': (right) => ({
      binary: (a, b, fn, view) => right.binary(a, b, fn === 'less' ? 'lessEqual' : fn, view),
    }),
    'pow of NaN to 0 is 1': (right) => ({
      binary: (a, b, fn, view) => {
        const zero = right.binary(b, b, 'sub', { ...view, stridesA: view.stridesB });
        return changed(right.binary(a, b, fn, view), (y, i) =>
          fn === 'pow' && zero[i] === 0 && Number.isNaN(y) ? 1 : y,
        );
      },
    }),
  },
  reduce: {
    'sum misses the last element': (right) => ({
      reduce: (x, fn, view, dtype) => {
        const last = x.buffer.length - 1;
        const buffer = changed(x.buffer, (value, i) => (fn === 'sum' && i === last ? 0 : value));
        return right.reduce({ ...x, buffer }, fn, view, dtype);
      },
    }),
    'sum changes from run to run': (right) => ({
      reduce: (x, fn, view, dtype) =>
        changed(right.reduce(x, fn, view, dtype), (y) => (fn === 'sum' ? y * (1 + 1e-6 * Math.random()) : y)),
    }),
    'max starts from zero': (right) => ({
      reduce: (x, fn, view, dtype) =>
        changed(right.reduce(x, fn, view, dtype), (y) => (fn === 'max' ? Math.max(y, 0) : y)),
    }),
    'min ignores NaN': (right) => ({
      reduce: (x, fn, view, dtype) =>
        changed(right.reduce(x, fn, view, dtype), (y) => (fn === 'min' && Number.isNaN(y) ? 0 : y)),
    }),
    'argmax takes the last of equals': (right) => ({
      reduce: (x, fn, view, dtype) => {
        if (fn !== 'argmax' || view.inner !== 1) return right.reduce(x, fn, view, dtype);
        const most = right.reduce(x, 'max', view, 'f64');
        return changed(right.reduce(x, fn, view, dtype), (y, o) => {
          for (let j = view.length - 1; j >= 0; j--) if (x.buffer[o * view.length + j] === most[o]) return j;
          return y;
        });
      },
    }),
    'argmax passes NaN over': (right) => ({
      reduce: (x, fn, view, dtype) => {
        const buffer = fn === 'argmax' ? changed(x.buffer, (v) => (Number.isNaN(v) ? -1e30 : v)) : x.buffer;
        return right.reduce({ ...x, buffer }, fn, view, dtype);
      },
    }),
    'logSumExp overflows': (right) => ({
      reduce: (x, fn, view, dtype) => {
        if (fn !== 'logSumExp') return right.reduce(x, fn, view, dtype);
        const buffer = changed(new Float64Array(x.buffer), Math.exp);
        return changed(right.reduce({ ...x, buffer, dtype: 'f64' }, 'sum', view, 'f64'), Math.log);
      },
    }),
    'mean is the sum': (right) => ({
      reduce: (x, fn, view, dtype) => right.reduce(x, fn === 'mean' ? 'sum' : fn, view, dtype),
    }),
    'forgets the inner axis': (right) => ({
      reduce: (x, fn, view, dtype) => right.reduce(x, fn, { ...view, outer: view.outer * view.inner, inner: 1 }, dtype),
    }),
    'sums in the wrong precision': (right) => ({
      reduce: (x, fn, view, dtype) =>
        changed(right.reduce(x, fn, view, dtype), (y) => (fn === 'sum' ? y * (1 + 2 ** -6) : y)),
    }),
  },
  decoder: {
    'leaves the residual out': (right) => ({
      decoder: {
        ...fused(right),
        layer: (problem) => {
          const before = problem.x.buffer.slice();
          fused(right).layer(problem);
          problem.x.buffer.set(changed(problem.x.buffer, (x, i) => x - before[i]));
        },
      },
    }),
    'forgets where it is': (right) => ({
      decoder: { ...fused(right), layer: (problem) => fused(right).layer({ ...problem, position: 0 }) },
    }),
    'attends what starts leave out': (right) => ({
      decoder: { ...fused(right), layer: (problem) => fused(right).layer({ ...problem, starts: null }) },
    }),
    'takes the largest always': (right) => ({
      decoder: { ...fused(right), decode: (problem) => fused(right).decode({ ...problem, temperature: 0 }) },
    }),
    'ignores the nucleus': (right) => ({
      decoder: { ...fused(right), decode: (problem) => fused(right).decode({ ...problem, topP: 1 }) },
    }),
    'draws again with the first number': (right) => ({
      decoder: {
        ...fused(right),
        decode: (problem) =>
          fused(right).decode({ ...problem, uniforms: problem.uniforms.map(() => problem.uniforms[0] ?? 0) }),
      },
    }),
    'goes on after NaN': (right) => ({
      decoder: {
        ...fused(right),
        decode: (problem) => changed(fused(right).decode(problem), (id) => Math.max(id, 0)),
      },
    }),
  },
  rearrange: {
    'repeats ones': (right) => ({
      rearrange: (x, view) =>
        changed(right.rearrange(x, view), (y) => (x.buffer.length === 1 && view.sizes[0] !== 1 ? 1 : y)),
    }),
    copies: (right) => ({ rearrange: (x, view) => right.rearrange(x, { ...view, strides: dense(view.sizes) }) }),
    'repeats nothing': (right) => ({
      rearrange: (x, view) => right.rearrange(x, { ...view, strides: view.strides.map((stride) => stride || 1) }),
    }),
    'turns the last two axes only': (right) => ({
      rearrange: (x, view) =>
        right.rearrange(x, {
          ...view,
          strides: view.strides.map((s, i) => (i < view.strides.length - 2 ? 0 : s)),
        }),
    }),
  },
};

function dense(sizes: readonly number[]): number[] {
  return sizes.map((_, axis) => sizes.slice(axis + 1).reduce((product, size) => product * size, 1));
}

export const primitiveMutations: readonly Mutation[] = Object.entries(MISTAKES).flatMap(([kernel, mistakes]) =>
  Object.entries(mistakes).map(([name, wrong]) => ({ kernel: kernel as keyof ReferenceKernels, name, wrong })),
);
