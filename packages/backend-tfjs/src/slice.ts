import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

const KERNEL = 'LazyAttentionSlice';

/**
 * As tf.slice. wasm's own kernel copies the whole input to a JavaScript array before it takes the slice; there a kernel
 * of ours copies the slice alone.
 */
export function slice<R extends tf.Rank>(
  x: tf.Tensor<R>,
  begin: readonly number[],
  size: readonly number[],
): tf.Tensor<R> {
  if (size.every((count, axis) => count === x.shape[axis])) return tf.reshape(x, x.shape);
  if (tf.getBackend() !== 'wasm') return tf.slice(x, [...begin], [...size]);
  if (tf.getKernel(KERNEL, 'wasm') === undefined) register();
  return tf.engine().runKernel(KERNEL, { x }, { begin: [...begin], size: [...size] });
}

function register(): void {
  tf.registerKernel({
    kernelName: KERNEL,
    backendName: 'wasm',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { begin, size } = attrs as unknown as { begin: number[]; size: number[] };
      const wasm = backend as BackendWasm;
      const x = inputs.x as tf.TensorInfo;
      const output = wasm.makeOutput(size, x.dtype);
      // Views into the heap, taken after the allocation, which may have moved it.
      copyBlock(heapView(wasm, x), x.shape, begin, heapView(wasm, output), size);
      return output;
    },
  });
}

/** float32 and int32 alike are four bytes that are only moved. */
function heapView(wasm: BackendWasm, x: tf.TensorInfo): Int32Array {
  const { buffer, byteOffset, length } = wasm.typedArrayFromHeap(x);
  return new Int32Array(buffer, byteOffset, length);
}

/** Copies the block of `source` at `begin` to the dense `target` of shape `size`, one contiguous run at a time. */
function copyBlock(
  source: Int32Array,
  shape: readonly number[],
  begin: readonly number[],
  target: Int32Array,
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
