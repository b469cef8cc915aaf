import { computedDType } from '@lazy-attention/core';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

export function embedding(weight: RefTensor, ids: RefTensor): Buffer {
  const width = weight.shape[1];
  const w = values(weight);
  const out = new Float64Array(ids.buffer.length * width);
  ids.buffer.forEach((id, i) => {
    out.set(w.subarray(id * width, (id + 1) * width), i * width);
  });
  return store(out, computedDType(weight.dtype));
}

/** Every row of dy goes to the row of the weight that it came from. */
export function embeddingGrad(dy: RefTensor, ids: RefTensor, vocabulary: number): Buffer {
  const width = dy.shape[dy.shape.length - 1];
  const dys = values(dy);
  const dweight = new Float64Array(vocabulary * width);
  ids.buffer.forEach((id, i) => {
    for (let c = 0; c < width; c++) dweight[id * width + c] += dys[i * width + c];
  });
  return store(dweight, dy.dtype);
}
