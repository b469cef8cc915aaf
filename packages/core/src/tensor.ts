import type { Scoped } from './arena.ts';
import type { Backend } from './backend.ts';
import type { DType, TensorData } from './dtype.ts';
import { elementCount, internShape, type Shape } from './shape.ts';

/** A piece of device memory and how many tensors look at it. */
export interface Storage {
  readonly buffer: object;
  readonly bytes: number;
  references: number;
  /**
   * Index tensors (i32) are born on the host and never computed on the device, so the host always knows them. That
   * lets core refuse an index out of range before a kernel could read out of bounds.
   */
  readonly indices: Int32Array | null;
}

/**
 * A dense, row-major array on a backend's device. Made by a `Backend`, immutable but for the few ops that say so.
 * Its memory is held until `dispose()`, the end of a `using` block, or the end of a `backend.scope`.
 */
export class Tensor {
  readonly shape: Shape;
  /** Number of elements. */
  readonly size: number;
  readonly dtype: DType;
  readonly backend: Backend;
  /** @internal */
  readonly storage: Storage;
  /** @internal As of `Scoped`. */
  scope: Scoped[] | null = null;
  /** @internal As of `Scoped`. */
  scopeIndex = 0;
  #disposed = false;

  /** @internal Use `backend.tensor`. */
  constructor(backend: Backend, storage: Storage, shape: Shape, dtype: DType) {
    this.backend = backend;
    this.storage = storage;
    this.shape = internShape(shape);
    this.size = elementCount(shape);
    this.dtype = dtype;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** The values of an index tensor (i32), which the host always knows: a copy, without waiting. Null for other types. */
  indexValues(): Int32Array | null {
    return this.storage.indices?.slice() ?? null;
  }

  /**
   * Waits for the work that computes this tensor and copies it to the host: Int32Array for i32, Float64Array for f64,
   * Float32Array for all else. Rejects with `DisposedError`, `DeviceLostError` or `OutOfMemoryError`.
   */
  data(): Promise<TensorData> {
    return this.backend.read(this);
  }

  /** Gives the memory back once no other view needs it. Doing so twice is allowed. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.backend.release(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
