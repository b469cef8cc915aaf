import { type DType, elementCount, statisticsDType } from '@lazy-attention/core';
import { type Buffer, full, type RefTensor, store, values } from './storage.ts';

export function add(a: RefTensor, b: RefTensor): Buffer {
  const x = values(a);
  const y = values(b);
  const out = new Float64Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = x[i] + y[i];
  return store(out, a.dtype);
}

export function mul(a: RefTensor, b: RefTensor): Buffer {
  const x = values(a);
  const y = values(b);
  const out = new Float64Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = x[i] * y[i];
  return store(out, a.dtype);
}

export function scale(x: RefTensor, factor: number): Buffer {
  const out = new Float64Array(x.buffer);
  for (let i = 0; i < out.length; i++) out[i] *= factor;
  return store(out, x.dtype);
}

export function sum(x: RefTensor): Buffer {
  let total = 0;
  for (const value of values(x)) total += value;
  return store(Float64Array.of(total), statisticsDType(x.dtype));
}

/** d(sum)/dx = 1 everywhere. */
export function sumGrad(dy: RefTensor, shape: readonly number[], dtype: DType): Buffer {
  return full(elementCount(shape), dy.buffer[0], dtype);
}

export function sumSquares(tensors: readonly RefTensor[]): Buffer {
  let total = 0;
  for (const x of tensors) {
    for (const value of values(x)) total += value * value;
  }
  return store(Float64Array.of(total), statisticsDType(tensors[0].dtype));
}
