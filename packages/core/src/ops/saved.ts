/// <reference lib="esnext.disposable" preserve="true" />
import type { AttentionInputs } from '../contract/attention.ts';
import type { Kernels, SavedState } from '../contract/kernels.ts';
import type { KernelTensor } from '../contract/tensor.ts';
import { BackendMismatchError, DisposedError, ValueError } from '../errors.ts';
import type { Lifetimes } from '../lifetimes/lifetimes.ts';
import type { Scoped } from '../lifetimes/scoped.ts';
import type { Storage, Tensor } from '../lifetimes/tensor.ts';

/** Opaque: the inputs, the output and what the backend kept. Holds their memory until disposed. */
export interface SavedAttention {
  /** Whether `dispose` has been called, by hand or at the end of a scope. */
  readonly disposed: boolean;
  /** Gives the memory back. Doing so twice is allowed. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** A storage as it was when it was checked. */
interface Held {
  readonly name: string;
  readonly storage: Storage;
  readonly version: number;
}

/** Inputs, output and the backend's own state of one attention, alive until the gradient has been taken. */
export class KeptAttention implements SavedAttention, Scoped {
  scope: Scoped[] | null = null;
  scopeIndex = 0;
  readonly #lifetimes: Lifetimes;
  readonly #kernels: Kernels;
  readonly #inputs: AttentionInputs;
  readonly #output: KernelTensor;
  readonly #state: SavedState | null;
  readonly #held: readonly Held[];
  #disposed = false;

  constructor(
    lifetimes: Lifetimes,
    kernels: Kernels,
    inputs: AttentionInputs,
    output: Tensor,
    state: SavedState | null,
    held: Readonly<Record<string, Tensor | undefined>>,
  ) {
    this.#lifetimes = lifetimes;
    this.#kernels = kernels;
    this.#inputs = inputs;
    this.#output = { buffer: output.storage.buffer, shape: output.shape, dtype: output.dtype };
    this.#state = state;
    this.#held = Object.entries(held).flatMap(([name, tensor]) =>
      tensor === undefined ? [] : [{ name, storage: tensor.storage, version: tensor.storage.version }],
    );
    for (const { storage } of this.#held) storage.references++;
    lifetimes.addBytes(state?.bytes ?? 0);
    lifetimes.track(this);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** What the gradient reads, if it is all as it was. */
  open(op: string, kernels: Kernels): { inputs: AttentionInputs; output: KernelTensor; kept: SavedState } {
    if (kernels !== this.#kernels) {
      throw new BackendMismatchError(`${op}: saved belongs to another backend ('${this.#kernels.name}')`);
    }
    if (this.#disposed) throw new DisposedError(`${op}: saved has been disposed`);
    if (this.#state === null) {
      throw new ValueError(`${op}: saved is empty because attention ran with save: false; leave that option out`);
    }
    // `starts` was checked when attention ran; other values than those could read out of bounds.
    const written = this.#held.find(({ storage, version }) => storage.version !== version);
    if (written !== undefined) {
      throw new ValueError(
        `${op}: ${written.name} has been written in place since attention read it; take the gradient before, or give attention a copy`,
      );
    }
    return { inputs: this.#inputs, output: this.#output, kept: this.#state };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#lifetimes.forget(this);
    for (const { storage } of this.#held) this.#lifetimes.release(storage);
    if (this.#state !== null) this.#lifetimes.releaseSaved(this.#state);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
