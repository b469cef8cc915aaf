import type { FloatDType, Ops, Tensor } from '@lazy-attention/core';

/** The weight in the type of the activations that it meets. The caller disposes the result unless it is the weight. */
function inDType(ops: Ops, weight: Tensor, dtype: Tensor['dtype']): Tensor {
  return weight.dtype === dtype ? weight : ops.cast(weight, dtype as FloatDType);
}

/** x [..., in] times weight [out, in], the transpose that PyTorch's Linear stores. */
export function linear(ops: Ops, x: Tensor, weight: Tensor): Tensor {
  return withCast(ops, weight, x.dtype, (w) => ops.matmul(x, w, { transposeB: true }));
}

/** residual + linear(x, weight). Uses up `residual`: what is left of it is the result. */
export function linearInto(ops: Ops, residual: Tensor, x: Tensor, weight: Tensor): Tensor {
  const sum = withCast(ops, weight, x.dtype, (w) => ops.matmul(x, w, { transposeB: true, accumulate: residual }));
  if (sum !== residual) residual.dispose();
  return sum;
}

export function norm(ops: Ops, x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return withCast(ops, weight, x.dtype, (w) => ops.rmsNorm(x, w, { epsilon }));
}

function withCast(ops: Ops, weight: Tensor, dtype: Tensor['dtype'], fn: (weight: Tensor) => Tensor): Tensor {
  const cast = inDType(ops, weight, dtype);
  const result = fn(cast);
  if (cast !== weight) cast.dispose();
  return result;
}
