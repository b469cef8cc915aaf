/*
 * The functions of the four open primitives (`Kernels.unary`, `binary`, `reduce`, `rearrange`), and the views that tell a
 * kernel where its entries lie. Core has merged neighbouring axes, so that most views have one axis.
 *
 * Formulas hold as written, with IEEE arithmetic: spec §Not a number. Where a formula gives NaN for an infinite operand
 * (`silu(-Infinity)` is `-Infinity * 0`), so does the kernel. Zeros of either sign count as equal.
 */

/**
 * y = fn(x), element by element. NaN in gives NaN out.
 *
 * | function | y | at the edges |
 * |---|---|---|
 * | neg, abs, square, reciprocal | -x, abs(x), x * x, 1 / x | reciprocal(0) is Infinity, with the zero's sign |
 * | exp, log | e^x, natural logarithm | log(0) is -Infinity; of a negative number NaN |
 * | sqrt, rsqrt | x^(1/2), x^(-1/2) | of a negative number NaN; rsqrt(0) is Infinity |
 * | sign | -1, 0 or 1 | sign(0) is 0 |
 * | sin, cos | of an angle in radians | as good as f32 up to 1000; of an infinity NaN |
 * | tanh, sigmoid | tanh(x), 1 / (1 + e^-x) | no overflow: exactly 1, and -1 or 0, at the infinities |
 * | softplus | log(1 + e^x) | no overflow: x at Infinity, 0 at -Infinity |
 * | relu | max(x, 0) | |
 * | silu | x * sigmoid(x) | silu(-Infinity) is NaN |
 * | gelu | x / 2 * (1 + erf(x / sqrt(2))), the exact one | gelu(-Infinity) is NaN |
 */
export const UNARY_FUNCTIONS = [
  'neg',
  'exp',
  'log',
  'sqrt',
  'rsqrt',
  'abs',
  'sign',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'softplus',
  'relu',
  'silu',
  'gelu',
  'reciprocal',
  'square',
] as const;

/** One of `UNARY_FUNCTIONS`. */
export type UnaryFunction = (typeof UNARY_FUNCTIONS)[number];

/**
 * out = fn(a, b), element by element.
 *
 * | function | out | NaN |
 * |---|---|---|
 * | add, sub, mul, div | a + b, a - b, a * b, a / b | as IEEE has it |
 * | pow | a^b; of a negative a only for whole b, else NaN; pow(a, 0) is 1, pow(1, b) and pow(-1, Infinity) are 1 | NaN in either gives NaN, without exception |
 * | max, min | the larger, the smaller | NaN in either gives NaN |
 * | less, lessEqual, equal | 1 where a < b, a <= b, a = b, else 0 | 0 where either is NaN |
 * | keep | b where a is not 0, else exactly 0, whatever b is | a NaN is not 0: b; a NaN in b comes out where it is kept |
 */
export const BINARY_FUNCTIONS = [
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'max',
  'min',
  'less',
  'lessEqual',
  'equal',
  'keep',
] as const;

/** One of `BINARY_FUNCTIONS`. */
export type BinaryFunction = (typeof BINARY_FUNCTIONS)[number];

/**
 * One number from the entries of an axis. Sums in f32 or better, in a fixed order; NaN among the entries gives NaN.
 *
 * | function | result | at the edges |
 * |---|---|---|
 * | sum, mean | of the entries; mean is sum / length | Infinity - Infinity is NaN |
 * | max, min | the largest, the smallest entry | |
 * | logSumExp | log sum exp(x), from the largest entry on, so that it does not overflow | all -Infinity: -Infinity; an Infinity: Infinity |
 * | argmax | i32: place of the first NaN, else of the first largest entry | |
 */
export const REDUCE_FUNCTIONS = ['sum', 'mean', 'max', 'min', 'logSumExp', 'argmax'] as const;

/** One of `REDUCE_FUNCTIONS`. */
export type ReduceFunction = (typeof REDUCE_FUNCTIONS)[number];

/** Largest number of merged axes in a view. A scalar's view has one axis of size 1. */
export const MAX_VIEW_AXES = 8;

/** Where `Kernels.binary` finds its operands. `sizes` and both strides have one entry per merged axis, 1 to `MAX_VIEW_AXES`. */
export interface BroadcastView {
  /** The result's full shape, before axes were merged. */
  readonly shape: readonly number[];
  /** Sizes of the merged axes, the last one fastest; their product is that of `shape`. */
  readonly sizes: readonly number[];
  /** Steps through a, in elements; 0 repeats along that axis. */
  readonly stridesA: readonly number[];
  /** Steps through b, likewise. */
  readonly stridesB: readonly number[];
}

/** x seen as [outer, length, inner], to be reduced over `length`. */
export interface ReduceView {
  /** Entries before the axis. */
  readonly outer: number;
  /** Entries reduced to one; at least 1. */
  readonly length: number;
  /** Entries behind the axis; they are adjacent in memory. */
  readonly inner: number;
}

/** Where `Kernels.rearrange` finds its entries; `sizes` and `strides` have one entry per merged axis, 1 to `MAX_VIEW_AXES`. */
export interface RearrangeView {
  /** The result's full shape, before axes were merged. */
  readonly shape: readonly number[];
  /** Sizes of the merged axes, the last one fastest; their product is that of `shape`. */
  readonly sizes: readonly number[];
  /** Steps through x, in elements; 0 repeats along that axis. */
  readonly strides: readonly number[];
}
