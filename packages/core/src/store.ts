import { Arena } from './arena.ts';
import type { Backend } from './backend.ts';
import { checkDType, checkFloat, checkOwned, checkSameDType } from './checks.ts';
import { bytesPerElement, type DType, type TensorData } from './dtype.ts';
import { DisposedError, DTypeError, ShapeError, UnsupportedError, ValueError } from './errors.ts';
import type { Kernels, KernelTensor } from './kernels.ts';
import { agreeExcept, copyIndices, planSlice, replaceAxis, resolveAxis, sliceIndices } from './plan/slice.ts';
import { checkInteger, checkShape, describe, elementCount, formatShape, type Shape } from './shape.ts';
import { type Storage, Tensor } from './tensor.ts';

/** Live tensors (views count) and device bytes that they and saved attentions hold. */
export interface MemoryInfo {
  readonly tensors: number;
  readonly bytes: number;
  readonly peakBytes: number;
}

/** The half of a backend that owns tensors: makes them, moves their data, counts them and gives them back. */
export abstract class TensorStore {
  /** @internal */
  readonly kernels: Kernels;
  /** @internal */
  readonly arena: Arena;
  #disposed = false;

  constructor(kernels: Kernels) {
    this.kernels = kernels;
    this.arena = new Arena(kernels);
  }

  protected abstract readonly self: Backend;

  get name(): string {
    return this.kernels.name;
  }

  /** What it runs on, for people. */
  get device(): string {
    return this.kernels.device;
  }

  /** Element types that tensors of this backend may have; f32 and i32 are always there. */
  get dtypes(): ReadonlySet<DType> {
    return this.kernels.dtypes;
  }

  /** Whether this backend has a kernel that others may leave out. */
  offers(kernel: keyof Kernels): boolean {
    return this.kernels[kernel] !== undefined;
  }

  memory(): MemoryInfo {
    return this.arena.memory();
  }

  /** Waits for all work launched so far. Rejects with the first error of that work. */
  async synchronize(): Promise<void> {
    this.checkAlive('synchronize');
    await this.kernels.synchronize();
  }

  /** Releases the device and all that is still alive on it. Doing so twice is allowed. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.arena.close();
    await this.kernels.dispose();
  }

  /**
   * Runs `fn` and disposes every tensor and saved attention made inside but for those that it returns, alone or inside
   * arrays, plain objects, Maps and Sets. Scopes nest. `fn` must be synchronous: launching is; only `data()` waits.
   */
  scope<T>(fn: () => T): T {
    this.checkAlive('scope');
    return this.arena.scope(fn);
  }

  tensor(data: TensorData | readonly number[], shape: Shape, dtype: DType = defaultDType(data)): Tensor {
    this.checkAlive('tensor');
    checkDType(this, 'tensor', dtype);
    const count = checkShape('tensor', shape);
    if (data.length !== count) {
      throw new ShapeError(`tensor: data has ${data.length} elements; shape ${formatShape(shape)} needs ${count}`);
    }
    const host = toHost(data, dtype);
    const indices = host instanceof Int32Array ? host.slice() : null;
    return this.wrap(this.kernels.upload(host, shape, dtype), shape, dtype, indices);
  }

  zeros(shape: Shape, dtype: DType = 'f32'): Tensor {
    return this.#fill('zeros', shape, 0, dtype);
  }

  full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
    return this.#fill('full', shape, value, dtype);
  }

  #fill(op: string, shape: Shape, value: number, dtype: DType): Tensor {
    this.checkAlive(op);
    checkDType(this, op, dtype);
    const count = checkShape(op, shape);
    if (typeof value !== 'number') throw new ValueError(`${op}: value is ${describe(value)}; expected a number`);
    if (dtype === 'i32') checkInteger(op, 'value', value, -(2 ** 31), 2 ** 31 - 1);
    const indices = dtype === 'i32' ? new Int32Array(count).fill(value) : null;
    return this.wrap(this.kernels.full(shape, value, dtype), shape, dtype, indices);
  }

  reshape(x: Tensor, shape: Shape): Tensor {
    checkOwned(this, 'reshape', 'x', x);
    const count = checkShape('reshape', shape);
    if (count !== x.size) {
      throw new ShapeError(
        `reshape: x has shape ${formatShape(x.shape)} (${x.size} elements); ${formatShape(shape)} has ${count}`,
      );
    }
    return this.view(x.storage, shape, x.dtype);
  }

  cast(x: Tensor, dtype: DType): Tensor {
    checkOwned(this, 'cast', 'x', x);
    checkDType(this, 'cast', dtype);
    if (x.dtype === 'i32' || dtype === 'i32') {
      throw new DTypeError(`cast: from ${x.dtype} to ${dtype}; expected floating types`);
    }
    if (x.dtype === dtype) return this.view(x.storage, x.shape, dtype);
    return this.wrap(this.kernels.cast(kernelTensor(x), dtype), x.shape, dtype);
  }

  castGrad(dy: Tensor, dtype: DType): Tensor {
    return this.cast(dy, dtype);
  }

  slice(x: Tensor, axis: number, start: number, end: number): Tensor {
    checkOwned(this, 'slice', 'x', x);
    const resolved = resolveAxis('slice', x.shape, axis);
    const view = planSlice('slice', x.shape, resolved, start, end - start);
    const shape = replaceAxis(x.shape, resolved, view.count);
    const indices = x.storage.indices === null ? null : sliceIndices(x.storage.indices, view);
    return this.wrap(this.kernels.slice(kernelTensor(x), view), shape, x.dtype, indices);
  }

  sliceGrad(dy: Tensor, shape: Shape, axis: number, start: number): Tensor {
    checkFloat(this, 'sliceGrad', ['dy'], [dy]);
    const dx = this.zeros(shape, dy.dtype);
    try {
      this.#copyInto('sliceGrad', dx, dy, axis, start);
    } catch (error) {
      dx.dispose();
      throw error;
    }
    return dx;
  }

  copyInto(target: Tensor, source: Tensor, axis: number, offset: number): void {
    checkOwned(this, 'copyInto', 'target', target);
    checkOwned(this, 'copyInto', 'source', source);
    this.#copyInto('copyInto', target, source, axis, offset);
  }

  #copyInto(op: string, target: Tensor, source: Tensor, axis: number, offset: number): void {
    checkSameDType(op, 'source', source, 'target', target);
    if (target.storage === source.storage)
      throw new ValueError(`${op}: source and target share memory; copy source first`);
    const resolved = resolveAxis(op, target.shape, axis);
    const count = source.shape[resolved];
    if (!agreeExcept(target.shape, source.shape, resolved)) {
      throw new ShapeError(
        `${op}: source has shape ${formatShape(source.shape)}; expected that of target, ${formatShape(target.shape)}, on all axes but ${resolved}`,
      );
    }
    const view = planSlice(op, target.shape, resolved, offset, count);
    this.kernels.copyInto(kernelTensor(target), kernelTensor(source), view);
    if (target.storage.indices !== null && source.storage.indices !== null) {
      copyIndices(target.storage.indices, source.storage.indices, view);
    }
  }

  /**
   * For backend packages that share memory with another library: makes a tensor of a buffer that these kernels know.
   * The tensor owns it from now on. Not for i32, whose values core must know.
   * @throws UnsupportedError where the backend shares no memory, ValueError for an object that is no buffer of it,
   *   DTypeError and ShapeError for one that holds another type or fewer or more elements than `shape`.
   */
  adopt(buffer: object, shape: Shape, dtype: DType): Tensor {
    this.checkAlive('adopt');
    checkDType(this, 'adopt', dtype);
    checkShape('adopt', shape);
    if (dtype === 'i32') throw new DTypeError('adopt: dtype is i32; index tensors are made with backend.tensor');
    checkBuffer(this.kernels, buffer, shape, dtype);
    return this.wrap(buffer, shape, dtype);
  }

  /** The backend's own handle behind a tensor, valid until the tensor is disposed. For backend packages. */
  bufferOf(x: Tensor): object {
    checkOwned(this, 'bufferOf', 'tensor', x);
    return x.storage.buffer;
  }

  /** @internal Called by `Tensor.data`. */
  async read(x: Tensor): Promise<TensorData> {
    checkOwned(this, 'data', 'tensor', x);
    return this.kernels.read(kernelTensor(x));
  }

  /** @internal Called once by `Tensor.dispose`. */
  release(x: Tensor): void {
    this.arena.drop(x);
  }

  /** @internal Takes over a buffer that a kernel returned. */
  wrap(buffer: object, shape: Shape, dtype: DType, indices: Int32Array | null = null): Tensor {
    const bytes = elementCount(shape) * bytesPerElement(dtype);
    return this.view(this.arena.hold({ buffer, bytes, references: 0, indices }), shape, dtype);
  }

  /** @internal Another tensor on the same memory. */
  view(storage: Storage, shape: Shape, dtype: DType): Tensor {
    return this.arena.add(new Tensor(this.self, storage, shape, dtype));
  }

  /** @internal */
  checkAlive(op: string): void {
    if (this.#disposed) throw new DisposedError(`${op}: backend '${this.name}' has been disposed`);
  }
}

export function kernelTensor(x: Tensor): KernelTensor {
  return { buffer: x.storage.buffer, shape: x.shape, dtype: x.dtype };
}

export function optionalTensor(x: Tensor | undefined): KernelTensor | null {
  return x === undefined ? null : kernelTensor(x);
}

/** An adopted buffer must hold exactly what the tensor says: kernels check nothing of it again. */
function checkBuffer(kernels: Kernels, buffer: object, shape: Shape, dtype: DType): void {
  if (kernels.inspect === undefined) {
    throw new UnsupportedError(`adopt: backend '${kernels.name}' shares no memory with other libraries`);
  }
  const held = kernels.inspect(buffer);
  if (held === null) throw new ValueError(`adopt: buffer is no buffer of backend '${kernels.name}'`);
  if (held.dtype !== dtype) throw new DTypeError(`adopt: buffer holds ${held.dtype}; expected ${dtype}`);
  if (held.count !== elementCount(shape)) {
    throw new ShapeError(
      `adopt: buffer holds ${held.count} elements; shape ${formatShape(shape)} has ${elementCount(shape)}`,
    );
  }
}

function defaultDType(data: TensorData | readonly number[]): DType {
  if (data instanceof Int32Array) return 'i32';
  return data instanceof Float64Array ? 'f64' : 'f32';
}

/** Host data in the array type that `Kernels.upload` takes for `dtype`. */
function toHost(data: TensorData | readonly number[], dtype: DType): TensorData {
  if (dtype === 'i32') {
    if (data instanceof Int32Array) return data;
    for (let i = 0; i < data.length; i++) checkInteger('tensor', `data[${i}]`, data[i], -(2 ** 31), 2 ** 31 - 1);
    return Int32Array.from(data);
  }
  if (dtype === 'f64') return data instanceof Float64Array ? data : Float64Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}
