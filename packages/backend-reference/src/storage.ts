import {
  type DType,
  isPacked,
  type KernelTensor,
  roundTo,
  type SliceView,
  type TensorData,
  unpackWeights,
} from '@lazy-attention/core';

/** A tensor's memory. bf16 and f16 are kept as f32 values that the type can represent. */
export type Buffer = TensorData;

export type RefTensor = KernelTensor<Buffer>;

/** The elements in float64: all arithmetic happens on these. f64 tensors are not copied, so treat it as read only. */
export function values(x: RefTensor): Float64Array {
  return x.buffer instanceof Float64Array ? x.buffer : new Float64Array(x.buffer);
}

/** Rounds computed values to the element type. `computed` may become the buffer: give it up. */
export function store(computed: Float64Array, dtype: DType): Buffer {
  switch (dtype) {
    case 'f64':
      return computed;
    case 'f32':
      return new Float32Array(computed);
    case 'i32':
      return new Int32Array(computed);
    // Only the weights themselves are packed; what is computed with them is f32.
    case 'w4':
    case 'w8':
    case 'w4k':
    case 'w8k':
    case 'w16':
      throw new Error(`nothing computed is ${dtype}`);
    case 'bf16':
    case 'f16':
      return Float32Array.from(computed, (value) => roundTo(dtype, value));
  }
}

/** Packed weights are kept as the numbers that they stand for. */
export function upload(data: TensorData, shape: readonly number[], dtype: DType): Buffer {
  if (isPacked(dtype)) return unpackWeights({ dtype, shape, words: data as Int32Array });
  return store(new Float64Array(data), dtype);
}

export function full(count: number, value: number, dtype: DType): Buffer {
  return store(new Float64Array(count).fill(value), dtype);
}

/** Host copy, in the array type that `Tensor.data` promises. */
export function read(x: RefTensor): TensorData {
  return x.buffer.slice();
}

export function cast(x: RefTensor, dtype: DType): Buffer {
  return store(new Float64Array(x.buffer), dtype);
}

export function slice(x: RefTensor, view: SliceView): Buffer {
  const run = view.count * view.inner;
  const out = emptyLike(x.buffer, view.outer * run);
  for (let o = 0; o < view.outer; o++) {
    const from = (o * view.length + view.start) * view.inner;
    out.set(x.buffer.subarray(from, from + run), o * run);
  }
  return out;
}

export function copyInto(target: RefTensor, source: RefTensor, view: SliceView): void {
  const run = view.count * view.inner;
  for (let o = 0; o < view.outer; o++) {
    target.buffer.set(source.buffer.subarray(o * run, (o + 1) * run), (o * view.length + view.start) * view.inner);
  }
}

/** A buffer for `length` elements of the same type. */
export function emptyLike(buffer: Buffer, length: number): Buffer {
  if (buffer instanceof Float64Array) return new Float64Array(length);
  return buffer instanceof Int32Array ? new Int32Array(length) : new Float32Array(length);
}
