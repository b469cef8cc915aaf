import type { KernelTensor } from '../contract/tensor.ts';
import type { Tensor } from '../lifetimes/tensor.ts';

/** x [..., C] as [rows, C]. */
export function rows(x: Tensor): KernelTensor {
  const width = x.shape[x.shape.length - 1];
  return { buffer: x.storage.buffer, shape: [x.size / width, width], dtype: x.dtype };
}

/** x as [elements]. */
export function flat(x: Tensor): KernelTensor {
  return { buffer: x.storage.buffer, shape: [x.size], dtype: x.dtype };
}
