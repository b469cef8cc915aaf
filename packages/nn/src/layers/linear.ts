import { type FloatDType, isPacked, type Ops, type Tensor } from '@lazy-attention/core';

/** The weight in the type of the activations that it meets, or packed, as products take it. The caller disposes the result unless it is the weight. */
export function inDType(ops: Ops, weight: Tensor, dtype: Tensor['dtype']): Tensor {
  return weight.dtype === dtype || isPacked(weight.dtype) ? weight : ops.cast(weight, dtype as FloatDType);
}

/** y + bias [out], or y where there is none. Uses up y. */
function biased(ops: Ops, y: Tensor, bias: Tensor | undefined): Tensor {
  if (bias === undefined) return y;
  const b = inDType(ops, bias, y.dtype);
  const sum = ops.binary('add', y, b);
  if (b !== bias) b.dispose();
  y.dispose();
  return sum;
}

/** x [..., in] times weight [out, in], the transpose that PyTorch's Linear stores, plus bias [out]. */
export function linear(ops: Ops, x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const w = inDType(ops, weight, x.dtype);
  const y = ops.matmul(x, w, { transposeB: true });
  if (w !== weight) w.dispose();
  return biased(ops, y, bias);
}

/** residual + linear(x, weight, bias). Uses up `residual`: what is left of it is the result. */
export function linearInto(ops: Ops, residual: Tensor, x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const w = inDType(ops, weight, x.dtype);
  const sum = ops.matmul(x, w, { transposeB: true, accumulate: residual });
  if (w !== weight) w.dispose();
  if (sum !== residual) residual.dispose();
  return biased(ops, sum, bias);
}

/** RMSNorm over the last axis. */
export function norm(ops: Ops, x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const w = inDType(ops, weight, x.dtype);
  const y = ops.rmsNorm(x, w, { epsilon });
  if (w !== weight) w.dispose();
  return y;
}
