import * as tf from '@tensorflow/tfjs-core';
import { type HostKernel, hasHostKernels, type Memory, runHostKernel } from './host-kernel.ts';

/**
 * As tf.slice. wasm's own kernel copies the whole input to a JavaScript array before it takes the slice, and cpu's goes
 * element by element; a kernel of ours copies the slice alone, in runs.
 */
export function slice<R extends tf.Rank>(
  x: tf.Tensor<R>,
  begin: readonly number[],
  size: readonly number[],
): tf.Tensor<R> {
  if (size.every((count, axis) => count === x.shape[axis])) return tf.reshape(x, x.shape);
  if (!hasHostKernels()) return tf.slice(x, [...begin], [...size]);
  return runHostKernel(SLICE, [x], { shape: x.shape, begin, size }, size) as tf.Tensor<R>;
}

const SLICE: HostKernel<{ shape: readonly number[]; begin: readonly number[]; size: readonly number[] }> = {
  name: 'LazyAttentionSlice',
  fill: (output, [x], { shape, begin, size }) => copyBlock(x, shape, begin, output, size),
};

/** Copies the block of `source` at `begin` to the dense `target` of shape `size`, one contiguous run at a time. */
function copyBlock(
  source: Memory,
  shape: readonly number[],
  begin: readonly number[],
  target: Memory,
  size: readonly number[],
): void {
  // Axes from `axis` on make one run: all but the first of them are taken whole.
  let axis = size.length - 1;
  while (axis > 0 && size[axis] === shape[axis]) axis--;
  const strides = new Array<number>(shape.length).fill(1);
  for (let a = shape.length - 2; a >= 0; a--) strides[a] = strides[a + 1] * shape[a + 1];
  const run = size[axis] * strides[axis];
  const index = new Array<number>(axis).fill(0);
  let offset = begin.reduce((sum, start, a) => sum + start * strides[a], 0);
  for (let at = 0; at < target.length; at += run) {
    target.set(source.subarray(offset, offset + run), at);
    for (let a = axis - 1; a >= 0; a--) {
      offset += strides[a];
      if (++index[a] < size[a]) break;
      offset -= size[a] * strides[a];
      index[a] = 0;
    }
  }
}
