import { statisticsDType } from '@lazy-attention/core';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

export function scale(x: RefTensor, factor: number): Buffer {
  const out = new Float64Array(x.buffer);
  for (let i = 0; i < out.length; i++) out[i] *= factor;
  return store(out, x.dtype);
}

export function sumSquares(tensors: readonly RefTensor[]): Buffer {
  let total = 0;
  for (const x of tensors) {
    for (const value of values(x)) total += value * value;
  }
  return store(Float64Array.of(total), statisticsDType(tensors[0].dtype));
}
