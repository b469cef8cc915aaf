/// <reference lib="esnext.disposable" preserve="true" />
import type { DType, TensorData } from '../dtype.ts';
import { BackendMismatchError, ValueError } from '../errors.ts';
import { describe, elementCount, internShape, type Shape } from '../shape.ts';
import { THIS_COPY } from '../version.ts';
import type { Scoped } from './scoped.ts';

/** A piece of device memory and how many tensors look at it. */
export interface Storage {
  readonly buffer: object;
  readonly bytes: number;
  references: number;
  /** How often it has been written in place: a check made before a write says nothing after it. */
  version: number;
  /**
   * What an index tensor (i32) holds, where the host knows: it does unless the device computed them. That lets core
   * refuse an index out of range before a kernel could read out of bounds.
   */
  readonly indices: Int32Array | null;
}

/** @internal What a tensor needs of its backend. */
export interface Owner {
  readonly name: string;
  read(x: Tensor): Promise<TensorData>;
  release(x: Tensor): void;
}

/** The backend that made a tensor. `backend.ts` adds that it is a `Backend`: an import here would close a circle. */
export interface TensorOwner {
  /** Short name, as in `createBackend(name)`. */
  readonly name: string;
}

/** Tells tensors of every copy of core in the process, by what the copy says of itself. */
const BRAND = Symbol.for('@lazy-attention/core/tensor');

/** Only core makes tensors: the rest of it trusts their fields. */
const MAKER = {};

/**
 * A dense, row-major array on a backend's device. Made by a `Backend`, immutable but for the few ops that say so.
 * Its memory is held until `dispose()`, the end of a `using` block, or the end of a `backend.scope`.
 */
export class Tensor {
  readonly #shape: Shape;
  readonly #size: number;
  readonly #dtype: DType;
  readonly #backend: Owner;
  readonly #storage: Storage;
  /** @internal As of `Scoped`. */
  scope: Scoped[] | null = null;
  /** @internal As of `Scoped`. */
  scopeIndex = 0;
  /** @internal Of a large one: what outlives it, should nobody dispose it. */
  watched: { storage: Storage | null } | null = null;
  #disposed = false;

  /** @internal Use `backend.tensor`. */
  constructor(maker: object, backend: Owner, storage: Storage, shape: Shape, dtype: DType) {
    if (maker !== MAKER) throw new ValueError('Tensor: made by ops alone; use backend.tensor(data, shape)');
    this.#backend = backend;
    this.#storage = storage;
    this.#shape = internShape(shape);
    this.#size = elementCount(this.#shape);
    this.#dtype = dtype;
  }

  /** Sizes, the last axis fastest; frozen. */
  get shape(): Shape {
    return this.#shape;
  }

  /** Number of elements. */
  get size(): number {
    return this.#size;
  }

  /** Type of the elements. */
  get dtype(): DType {
    return this.#dtype;
  }

  /** The backend that made it. */
  get backend(): TensorOwner {
    return this.#backend as Owner & TensorOwner;
  }

  /** @internal */
  get storage(): Storage {
    return this.#storage;
  }

  /** @internal Which copy of core made it. */
  get [BRAND](): string {
    return THIS_COPY;
  }

  /**
   * How often its memory has been written in place (`copyInto`, `matmul` with accumulate, `adamw`, fused decoding), by this
   * tensor or another view. Who keeps a tensor to compute with later can tell by it that the values are still the same.
   */
  get version(): number {
    return this.#storage.version;
  }

  /** Whether `dispose` has been called, by hand or at the end of a scope. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * The values of an index tensor (i32) that the host made: a copy, without waiting. Null for other types, and for one that
   * the device computed (`reduce` with argmax), which `data()` reads.
   */
  indexValues(): Int32Array | null {
    return this.#storage.indices?.slice() ?? null;
  }

  /**
   * Waits for the work that computes this tensor and copies it to the host: Int32Array for i32, Float64Array for f64,
   * Float32Array for all else. Rejects with `DisposedError`, `DeviceLostError` or `OutOfMemoryError`.
   */
  data(): Promise<TensorData> {
    return this.#backend.read(this);
  }

  /** Gives the memory back once no other view needs it. Doing so twice is allowed. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.watched !== null) this.watched.storage = null;
    this.#backend.release(this);
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal Whether x is a tensor that this copy of core made, and no object that looks like one. */
  static is(x: unknown): x is Tensor {
    return typeof x === 'object' && x !== null && #storage in x;
  }
}

/** @internal For the owner of the storage. */
export function makeTensor(backend: Owner, storage: Storage, shape: Shape, dtype: DType): Tensor {
  return new Tensor(MAKER, backend, storage, shape, dtype);
}

/**
 * Refuses what is no tensor of this copy of core, for packages that take tensors.
 *
 * @throws BackendMismatchError that names both copies for a tensor of another copy of core, ValueError for anything else
 */
export function checkTensor(op: string, name: string, x: unknown): asserts x is Tensor {
  if (Tensor.is(x)) return;
  const copy = typeof x === 'object' && x !== null ? (x as { [BRAND]?: unknown })[BRAND] : undefined;
  if (typeof copy === 'string' && copy !== THIS_COPY) {
    throw new BackendMismatchError(
      `${op}: ${name} is a Tensor of another copy of core: it is of ${copy}, this is ${THIS_COPY}; npm ls @lazy-attention/core shows them, npm dedupe joins them`,
    );
  }
  throw new ValueError(`${op}: ${name} is ${describe(x)}; expected a Tensor`);
}
