import { checkDType, checkFloat, checkOwned, checkSameDType } from '../checks.ts';
import type { DType, TensorData } from '../dtype.ts';
import { DTypeError, OutOfMemoryError, ShapeError, UnsupportedError, ValueError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Storage, Tensor } from '../lifetimes/tensor.ts';
import { checkPacked, type PackedWeights } from '../packed.ts';
import {
  checkInteger,
  checkShape,
  checkStillThere,
  describe,
  elementCount,
  formatShape,
  type Shape,
  typedLength,
} from '../shape.ts';
import { agreeExcept, copyIndices, planSlice, replaceAxis, resolveAxis, sliceIndices } from './slices.ts';

/** Ops that look at a tensor in another way, and are differentiated. */
export interface ViewOps {
  /** The same elements in another shape, without a copy. */
  reshape(x: Tensor, shape: Shape): Tensor;
  /** Between floating types, to nearest. */
  cast(x: Tensor, dtype: DType): Tensor;
  /** Entries start..end-1 along `axis` (negative counts from the last). */
  slice(x: Tensor, axis: number, start: number, end: number): Tensor;
}

/** Gradients of `ViewOps`; reshape's is reshape. */
export interface ViewGradOps {
  /** `dtype` is that of what was cast. */
  castGrad(dy: Tensor, dtype: DType): Tensor;
  /** `shape` is the shape of the sliced tensor. */
  sliceGrad(dy: Tensor, shape: Shape, axis: number, start: number): Tensor;
}

/** What makes and fills tensors; nothing here is differentiated. */
export interface CreationOps {
  /**
   * Copies host data to the device. The type defaults to i32 for Int32Array, f64 for Float64Array, else f32; numbers
   * are rounded to the type. i32 takes integers only.
   */
  tensor(data: TensorData | readonly number[], shape: Shape, dtype?: DType): Tensor;
  /** Every element 0; f32 by default. */
  zeros(shape: Shape, dtype?: DType): Tensor;
  /** Every element `value`, rounded to the type; f32 by default. */
  full(shape: Shape, value: number, dtype?: DType): Tensor;
  /**
   * In place: target[..., offset + j, ...] = source[..., j, ...] along `axis`; the other sizes and types agree. Index tensors
   * take index tensors that the host knows.
   */
  copyInto(target: Tensor, source: Tensor, axis: number, offset: number): void;
}

/** As `CreationOps.tensor`. */
export function tensor(
  store: TensorStore,
  data: TensorData | readonly number[],
  shape: Shape,
  dtype: DType = defaultDType(data),
): Tensor {
  store.checkAlive('tensor');
  checkDType(store, 'tensor', dtype);
  const sizes = checkShape('tensor', shape);
  const host = toHost(data, sizes, dtype);
  const indices = host instanceof Int32Array ? host : null;
  return store.wrap(store.kernels.upload(host, sizes, dtype), sizes, dtype, indices);
}

/** As `Backend.packed`. */
export function packed(store: TensorStore, weights: PackedWeights): Tensor {
  store.checkAlive('packed');
  const { dtype, shape, words } = checkPacked('packed', weights);
  if (!store.packedDTypes.has(dtype)) {
    const has = [...store.packedDTypes].join(', ') || 'none';
    throw new UnsupportedError(
      `packed: backend '${store.name}' (${store.device}) has no packed weights of ${dtype}; it has ${has}; choose another backend, or tensor(unpackWeights(weights), weights.shape)`,
    );
  }
  const sizes = checkShape('packed', shape);
  return store.wrap(store.kernels.upload(words, sizes, dtype), sizes, dtype);
}

/** A tensor of one value, for the op that `op` names. */
export function fill(store: TensorStore, op: string, shape: Shape, value: number, dtype: DType): Tensor {
  store.checkAlive(op);
  checkDType(store, op, dtype);
  const sizes = checkShape(op, shape);
  if (typeof value !== 'number') throw new ValueError(`${op}: value is ${describe(value)}; expected a number`);
  if (dtype !== 'i32') return store.wrap(store.kernels.full(sizes, value, dtype), sizes, dtype);
  checkInteger(op, 'value', value, -(2 ** 31), 2 ** 31 - 1);
  // The device first: it may have a limit, and the host would take as much again.
  const buffer = store.kernels.full(sizes, value, dtype);
  try {
    return store.wrap(buffer, sizes, dtype, new Int32Array(elementCount(sizes)).fill(value));
  } catch (error) {
    store.kernels.free(buffer);
    const bytes = 4 * elementCount(sizes);
    if (error instanceof RangeError) throw new OutOfMemoryError(`${op}: no ${bytes} bytes of host memory`, bytes);
    throw error;
  }
}

/** As `ViewOps.reshape`. */
export function reshape(store: TensorStore, x: Tensor, shape: Shape): Tensor {
  checkOwned(store, 'reshape', 'x', x);
  const sizes = checkShape('reshape', shape);
  const count = elementCount(sizes);
  if (count !== x.size) {
    throw new ShapeError(
      `reshape: x has shape ${formatShape(x.shape)} (${x.size} elements); ${formatShape(sizes)} has ${count}`,
    );
  }
  return store.view(x.storage, sizes, x.dtype);
}

/** As `ViewOps.cast`. */
export function cast(store: TensorStore, x: Tensor, dtype: DType): Tensor {
  checkOwned(store, 'cast', 'x', x);
  checkDType(store, 'cast', dtype);
  if (x.dtype === 'i32' || dtype === 'i32') {
    throw new DTypeError(`cast: from ${x.dtype} to ${dtype}; expected floating types`);
  }
  if (x.dtype === dtype) return store.view(x.storage, x.shape, dtype);
  return store.wrap(store.kernels.cast(kernelTensor(x), dtype), x.shape, dtype);
}

/** As `ViewOps.slice`. */
export function slice(store: TensorStore, x: Tensor, axis: number, start: number, end: number): Tensor {
  checkOwned(store, 'slice', 'x', x);
  const resolved = resolveAxis('slice', x.shape, axis);
  const view = planSlice('slice', x.shape, resolved, start, end - start);
  const shape = replaceAxis(x.shape, resolved, view.count);
  const { indices } = x.storage;
  const known = indices === null ? null : sliceIndices(indices, view);
  return store.wrap(store.kernels.slice(kernelTensor(x), view), shape, x.dtype, known);
}

/** As `ViewGradOps.sliceGrad`: dy among zeros. */
export function sliceGrad(store: TensorStore, dy: Tensor, shape: Shape, axis: number, start: number): Tensor {
  checkFloat(store, 'sliceGrad', ['dy'], [dy]);
  const dx = fill(store, 'sliceGrad', shape, 0, dy.dtype);
  try {
    copy(store, 'sliceGrad', dx, dy, axis, start);
  } catch (error) {
    dx.dispose();
    throw error;
  }
  return dx;
}

/** As `CreationOps.copyInto`. */
export function copyInto(store: TensorStore, target: Tensor, source: Tensor, axis: number, offset: number): void {
  checkOwned(store, 'copyInto', 'target', target);
  checkOwned(store, 'copyInto', 'source', source);
  copy(store, 'copyInto', target, source, axis, offset);
}

function copy(store: TensorStore, op: string, target: Tensor, source: Tensor, axis: number, offset: number): void {
  checkSameDType(op, 'source', source, 'target', target);
  if (target.storage === source.storage) {
    throw new ValueError(`${op}: source and target share memory; copy source first`);
  }
  const resolved = resolveAxis(op, target.shape, axis);
  const count = source.shape[resolved];
  if (!agreeExcept(target.shape, source.shape, resolved)) {
    throw new ShapeError(
      `${op}: source has shape ${formatShape(source.shape)}; expected that of target, ${formatShape(target.shape)}, on all axes but ${resolved}`,
    );
  }
  const view = planSlice(op, target.shape, resolved, offset, count);
  const known = checkIndices(op, target.storage, source);
  store.kernels.copyInto(kernelTensor(target), kernelTensor(source), view);
  target.storage.version++;
  if (known !== null) copyIndices(known.target, known.source, view);
}

/** As `Backend.readInto`. */
export async function readInto(store: TensorStore, tensors: readonly Tensor[], target: Float32Array): Promise<void> {
  const places = checkPlaces(store, 'readInto', tensors, 'target', target);
  const { kernels } = store;
  if (kernels.readInto !== undefined) return kernels.readInto(tensors.map(kernelTensor), target);
  const length = typedLength(target);
  const parts = await Promise.all(tensors.map((x) => kernels.read(kernelTensor(x))));
  checkStillThere('readInto', target, length);
  for (const [i, part] of parts.entries()) target.set(part, places[i]);
}

/** As `Backend.writeFrom`. */
export async function writeFrom(store: TensorStore, tensors: readonly Tensor[], source: Float32Array): Promise<void> {
  const places = checkPlaces(store, 'writeFrom', tensors, 'source', source);
  const { kernels } = store;
  for (const { storage } of tensors) storage.version++;
  if (kernels.writeFrom !== undefined) return kernels.writeFrom(tensors.map(kernelTensor), source);
  for (const [i, x] of tensors.entries()) {
    const begin = places[i] as number;
    const part = kernelTensor(x);
    const buffer = kernels.upload(source.slice(begin, begin + x.size), x.shape, x.dtype);
    const view = { outer: 1, length: x.size, inner: 1, start: 0, count: x.size };
    kernels.copyInto(part, { ...part, buffer }, view);
    kernels.free(buffer);
  }
}

/** Where each tensor begins in an array that holds all of them. */
function checkPlaces(
  store: TensorStore,
  op: string,
  tensors: readonly Tensor[],
  name: string,
  array: Float32Array,
): number[] {
  if (!Array.isArray(tensors)) throw new ValueError(`${op}: tensors is ${describe(tensors)}; expected an array`);
  let length = 0;
  const places = tensors.map((x, i) => {
    checkOwned(store, op, `tensors[${i}]`, x);
    if (x.dtype !== 'f32') throw new DTypeError(`${op}: tensors[${i}] is ${x.dtype}; expected f32`);
    length += x.size;
    return length - x.size;
  });
  if (!(array instanceof Float32Array)) {
    throw new ValueError(`${op}: ${name} is ${describe(array)}; expected a Float32Array`);
  }
  if (typedLength(array) !== length) {
    throw new ShapeError(`${op}: ${name} has ${typedLength(array)} elements; the tensors have ${length}`);
  }
  return places;
}

/** The host's copies to keep in step, null where the target has none. */
function checkIndices(op: string, target: Storage, source: Tensor): { target: Int32Array; source: Int32Array } | null {
  if (target.indices === null) return null;
  const { indices } = source.storage;
  if (indices !== null) return { target: target.indices, source: indices };
  throw new ValueError(
    `${op}: source was computed on the device, and target's values are known and checked on the host; read it first: backend.tensor(await source.data(), source.shape)`,
  );
}

function defaultDType(data: TensorData | readonly number[]): DType {
  if (data instanceof Int32Array) return 'i32';
  return data instanceof Float64Array ? 'f64' : 'f32';
}

type Floats = Float32Array | Float64Array;

/**
 * Host data in the array type that `Kernels.upload` takes for `dtype`: the caller's array where it is of that type, else
 * a copy. Integers are always copied, since core keeps them.
 */
function toHost(data: TensorData | readonly number[], shape: Shape, dtype: DType): TensorData {
  if (typeof data !== 'object' || data === null) {
    throw new ValueError(`tensor: data is ${describe(data)}; expected numbers in an array`);
  }
  const typed = ArrayBuffer.isView(data) && !(data instanceof DataView);
  const length = typed ? typedLength(data) : data.length;
  const count = elementCount(shape);
  if (length !== count || data.length !== length) {
    throw new ShapeError(`tensor: data has ${length} elements; shape ${formatShape(shape)} needs ${count}`);
  }
  if (dtype === 'i32') return typed && data instanceof Int32Array ? new Int32Array(data) : integers(data, count);
  const wanted = dtype === 'f64' ? Float64Array : Float32Array;
  if (typed && Object.getPrototypeOf(data) === wanted.prototype) return data as Floats;
  return typed && isNumeric(data) ? new wanted(data) : floats(data, new wanted(count));
}

/** A typed array of numbers, not of BigInts. */
function isNumeric(data: object): data is TensorData {
  return !(data instanceof BigInt64Array || data instanceof BigUint64Array);
}

function integers(data: ArrayLike<number>, count: number): Int32Array {
  const out = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const value = data[i];
    checkInteger('tensor', `data[${i}]`, value, -(2 ** 31), 2 ** 31 - 1);
    out[i] = value;
  }
  return out;
}

function floats(data: ArrayLike<number>, out: Floats): Floats {
  for (let i = 0; i < out.length; i++) {
    const value = data[i];
    if (typeof value !== 'number') {
      throw new ValueError(
        `tensor: data[${i}] is ${describe(value)}; expected a number; nested arrays are flattened first`,
      );
    }
    out[i] = value;
  }
  return out;
}
