import { checkDType, checkOwned } from '../checks.ts';
import type { Kernels } from '../contract/kernels.ts';
import type { KernelTensor } from '../contract/tensor.ts';
import { bytesPerElement, type DType, type PackedDType, type TensorData } from '../dtype.ts';
import { DisposedError, DTypeError, ShapeError, UnsupportedError, ValueError } from '../errors.ts';
import { checkShape, describe, elementCount, formatShape, type Shape } from '../shape.ts';
import { WATCHED_BYTES, watchForgotten } from './forgotten.ts';
import { Lifetimes } from './lifetimes.ts';
import { makeTensor, type Storage, type Tensor } from './tensor.ts';

const NO_PACKED: ReadonlySet<PackedDType> = new Set();

/** Live tensors (views count) and device bytes that they and saved attentions hold. */
export interface MemoryInfo {
  /** Tensors that have not been disposed. */
  readonly tensors: number;
  /** Bytes of device memory that they hold. */
  readonly bytes: number;
  /** The most bytes that were ever held. */
  readonly peakBytes: number;
}

/** The half of a backend that owns tensors: counts them, moves their data to the host and gives them back. */
export class TensorStore {
  /** @internal */
  readonly kernels: Kernels;
  /** @internal */
  readonly lifetimes: Lifetimes;
  readonly #watch = watchForgotten((storage) => this.lifetimes.lose(storage));
  /** @internal The op that is being launched. */
  launching = '';
  #disposed = false;

  constructor(kernels: Kernels) {
    this.kernels = kernels;
    this.lifetimes = new Lifetimes(kernels);
  }

  /** Short name, as in `createBackend(name)`. */
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

  /** Packed types that this backend takes; none where it has no kernels for them. */
  get packedDTypes(): ReadonlySet<PackedDType> {
    return this.kernels.packedDTypes ?? NO_PACKED;
  }

  /**
   * How often each way to compute an op was taken, where the backend chooses between several: 'attentionGrad hopper' (names of
   * the backend, which documents them). Empty where it has one way for each op. Ops are queued and counted as they are
   * launched: await `synchronize()` or a read first.
   */
  launches(): Readonly<Record<string, number>> {
    return this.kernels.launches?.() ?? {};
  }

  /** What is alive now, and the most that ever was. */
  memory(): MemoryInfo {
    return this.lifetimes.memory();
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
    this.lifetimes.close();
    await this.kernels.dispose();
  }

  /**
   * Runs `fn` and disposes every tensor and saved attention made inside but for those that it returns, alone or inside
   * arrays, plain objects, Maps and Sets. Scopes nest. `fn` must be synchronous: launching is; only `data()` waits.
   */
  scope<T>(fn: () => T): T {
    this.checkAlive('scope');
    return this.lifetimes.scope(fn);
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
    const sizes = checkShape('adopt', shape);
    if (dtype === 'i32') throw new DTypeError('adopt: dtype is i32; index tensors are made with backend.tensor');
    checkBuffer(this.kernels, buffer, sizes, dtype);
    return this.wrap(buffer, sizes, dtype);
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
    this.lifetimes.drop(x);
  }

  /** @internal Takes over a buffer that a kernel returned. `indices` is what it holds, of an i32 that the host knows. */
  wrap(buffer: object, shape: Shape, dtype: DType, indices: Int32Array | null = null): Tensor {
    const bytes = elementCount(shape) * bytesPerElement(dtype);
    return this.view(this.lifetimes.hold({ buffer, bytes, references: 0, version: 0, indices }), shape, dtype);
  }

  /** @internal Another tensor on the same memory. */
  view(storage: Storage, shape: Shape, dtype: DType): Tensor {
    const tensor = this.lifetimes.add(makeTensor(this, storage, shape, dtype));
    if (storage.bytes >= WATCHED_BYTES) {
      const watched = { storage, op: this.launching };
      tensor.watched = watched;
      this.#watch(tensor, watched);
    }
    return tensor;
  }

  /** @internal Every op calls it first. */
  checkAlive(op: string): void {
    this.launching = op;
    if (this.#disposed) throw new DisposedError(`${op}: backend '${this.name}' has been disposed`);
  }
}

/** As kernels take it. */
export function kernelTensor(x: Tensor): KernelTensor {
  return { buffer: x.storage.buffer, shape: x.shape, dtype: x.dtype };
}

/** As kernels take what may be left out. */
export function optionalTensor(x: Tensor | undefined): KernelTensor | null {
  return x === undefined ? null : kernelTensor(x);
}

/** An adopted buffer must hold exactly what the tensor says: kernels check nothing of it again. */
function checkBuffer(kernels: Kernels, buffer: object, shape: Shape, dtype: DType): void {
  if (kernels.inspect === undefined) {
    throw new UnsupportedError(`adopt: backend '${kernels.name}' shares no memory with other libraries`);
  }
  if (typeof buffer !== 'object' || buffer === null) throw new ValueError(`adopt: buffer is ${describe(buffer)}`);
  const held = kernels.inspect(buffer);
  if (held === null) throw new ValueError(`adopt: buffer is no buffer of backend '${kernels.name}'`);
  if (held.dtype !== dtype) throw new DTypeError(`adopt: buffer holds ${held.dtype}; expected ${dtype}`);
  if (held.count !== elementCount(shape)) {
    throw new ShapeError(
      `adopt: buffer holds ${held.count} elements; shape ${formatShape(shape)} has ${elementCount(shape)}`,
    );
  }
}
