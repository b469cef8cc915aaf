import type { Backend, Tensor, UnaryFunction } from '@lazy-attention/core';

/** dy times the derivative, of x (what the function took) or y (what it gave). */
type Derivative = (ops: Backend, dy: Tensor, xOrY: Tensor, y: Tensor) => Tensor;
/** Which of them the derivative reads, so that nothing else is held; null: the derivative is zero. */
type Entry = readonly ['none' | 'x' | 'y' | 'both', Derivative] | null;

const mul = (ops: Backend, a: Tensor, b: Tensor) => ops.binary('mul', a, b);
const sub = (ops: Backend, a: Tensor, b: Tensor) => ops.binary('sub', a, b);

/** d fn(x) / dx times dy, composed of the primitives: one line for each function. */
export const UNARY_DERIVATIVES: Readonly<Record<UnaryFunction, Entry>> = {
  neg: ['none', (ops, dy) => ops.unary('neg', dy)],
  exp: ['y', (ops, dy, y) => mul(ops, dy, y)],
  log: ['x', (ops, dy, x) => ops.binary('div', dy, x)],
  sqrt: ['y', (ops, dy, y) => ops.scale(ops.binary('div', dy, y), 0.5)],
  rsqrt: ['y', (ops, dy, y) => ops.scale(mul(ops, mul(ops, dy, y), ops.unary('square', y)), -0.5)],
  abs: ['x', (ops, dy, x) => mul(ops, dy, ops.unary('sign', x))],
  sign: null,
  sin: ['x', (ops, dy, x) => mul(ops, dy, ops.unary('cos', x))],
  cos: ['x', (ops, dy, x) => ops.unary('neg', mul(ops, dy, ops.unary('sin', x)))],
  tanh: ['y', (ops, dy, y) => sub(ops, dy, mul(ops, dy, ops.unary('square', y)))],
  sigmoid: ['y', (ops, dy, y) => mul(ops, mul(ops, dy, y), oneLess(ops, y))],
  softplus: ['x', (ops, dy, x) => mul(ops, dy, ops.unary('sigmoid', x))],
  relu: ['y', (ops, dy, y) => ops.binary('keep', y, dy)],
  silu: ['both', (ops, dy, x, y) => mul(ops, dy, siluSlope(ops, ops.unary('sigmoid', x), y))],
  gelu: ['both', (ops, dy, x, y) => mul(ops, dy, ops.binary('add', normalShare(ops, x, y), mul(ops, x, bell(ops, x))))],
  reciprocal: ['y', (ops, dy, y) => ops.unary('neg', mul(ops, dy, ops.unary('square', y)))],
  square: ['x', (ops, dy, x) => ops.scale(mul(ops, dy, x), 2)],
};

/** 1 - y. */
function oneLess(ops: Backend, y: Tensor): Tensor {
  return sub(ops, ops.full([], 1, y.dtype), y);
}

/** With s = sigmoid(x): s + y (1 - s). */
function siluSlope(ops: Backend, s: Tensor, y: Tensor): Tensor {
  return ops.binary('add', s, mul(ops, y, oneLess(ops, s)));
}

/** The share of the normal distribution below x, which is gelu(x) / x, and a half at 0. */
function normalShare(ops: Backend, x: Tensor, y: Tensor): Tensor {
  return ops.where(x, ops.binary('div', y, x), ops.full([], 0.5, x.dtype));
}

/** The density of the normal distribution at x. */
function bell(ops: Backend, x: Tensor): Tensor {
  return ops.scale(ops.unary('exp', ops.scale(ops.unary('square', x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
}
