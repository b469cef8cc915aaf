import type { Ops, Tensor } from '@lazy-attention/core';

/** log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)), without overflow. */
export function logSigmoid(ops: Ops, x: Tensor): Tensor {
  const { backend, dtype } = x;
  const small = ops.unary('exp', ops.unary('neg', ops.unary('abs', x)));
  const rest = ops.unary('log', ops.binary('add', small, backend.full([], 1, dtype)));
  return ops.binary('sub', ops.binary('min', x, backend.zeros([], dtype)), rest);
}

/** log(1 + exp(x)). */
export function softplus(ops: Ops, x: Tensor): Tensor {
  return ops.unary('neg', logSigmoid(ops, ops.unary('neg', x)));
}

/** Longest sequence that one triangular matrix sums up. */
const BLOCK = 256;

/** Running sums along the last axis of x [..., n]: a product with a triangular matrix, block by block for long ones. */
export function runningSum(ops: Ops, x: Tensor): Tensor {
  const { backend, dtype, shape } = x;
  const [leading, n] = [shape.slice(0, -1), shape[shape.length - 1]];
  if (n <= BLOCK) return ops.matmul(x, backend.tensor(upperOnes(n), [n, n], dtype));
  const blocks = Math.ceil(n / BLOCK);
  const padded = ops.reshape(ops.pad(x, -1, 0, blocks * BLOCK - n), [...leading, blocks, BLOCK]);
  const within = runningSum(ops, padded);
  const totals = ops.reduce('sum', padded, { axes: [-1] });
  const before = ops.reshape(ops.binary('sub', runningSum(ops, totals), totals), [...leading, blocks, 1]);
  const whole = ops.reshape(ops.binary('add', within, before), [...leading, blocks * BLOCK]);
  return ops.slice(whole, -1, 0, n);
}

function upperOnes(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => (Math.floor(i / n) <= i % n ? 1 : 0));
}
