import * as tf from '@tensorflow/tfjs-core';
import { type HostKernel, hasHostKernels, runHostKernel } from './host-kernel.ts';
import { forEachRun } from './runs.ts';

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
  fill(output, [x], { shape, begin, size }) {
    const strides = [...tf.util.computeStrides([...shape]), 1];
    const offset = begin.reduce((sum, start, axis) => sum + start * strides[axis], 0);
    // Axes from `axis` on make one run: all but the first of them are taken whole.
    let axis = size.length - 1;
    while (axis > 0 && size[axis] === shape[axis]) axis--;
    const run = size[axis] * strides[axis];
    const walk = { offset, strides: strides.slice(0, axis) };
    forEachRun([...size.slice(0, axis), run], [walk], (at, [from]) => output.set(x.subarray(from, from + run), at));
  },
};
