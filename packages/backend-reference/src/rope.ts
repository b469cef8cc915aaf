import type { Rotation } from '@lazy-attention/core';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

/** spec §RoPE: the pair (x[d], x[d + D/2]) turns by position * base^(-2d/D), backwards with `inverse`. */
export function rope(x: RefTensor, rotation: Rotation): Buffer {
  const [batch, length, heads, headDim] = x.shape;
  const half = headDim / 2;
  const xs = values(x);
  const y = new Float64Array(xs.length);
  const direction = rotation.inverse ? -1 : 1;
  for (let r = 0; r < length; r++) {
    for (let d = 0; d < half; d++) {
      const angle = direction * (rotation.offset + r) * rotation.base ** ((-2 * d) / headDim);
      const cos = Math.cos(angle);
      const sin = Math.sin(angle);
      for (let b = 0; b < batch; b++) {
        for (let h = 0; h < heads; h++) {
          const i = ((b * length + r) * heads + h) * headDim + d;
          y[i] = xs[i] * cos - xs[i + half] * sin;
          y[i + half] = xs[i] * sin + xs[i + half] * cos;
        }
      }
    }
  }
  return store(y, x.dtype);
}
