import type { Arena, Scoped } from './arena.ts';
import { BackendMismatchError, DisposedError, ValueError } from './errors.ts';
import type { AttentionInputs, Kernels, KernelTensor, SavedState } from './kernels.ts';
import type { SavedAttention } from './ops.ts';
import type { Storage, Tensor } from './tensor.ts';

/** Inputs, output and the backend's own state of one attention, alive until the gradient has been taken. */
export class KeptAttention implements SavedAttention, Scoped {
  scope: Scoped[] | null = null;
  scopeIndex = 0;
  readonly #arena: Arena;
  readonly #kernels: Kernels;
  readonly #inputs: AttentionInputs;
  readonly #output: KernelTensor;
  readonly #state: SavedState | null;
  readonly #held: readonly Storage[];
  #disposed = false;

  constructor(
    arena: Arena,
    kernels: Kernels,
    inputs: AttentionInputs,
    output: Tensor,
    state: SavedState | null,
    held: readonly (Tensor | undefined)[],
  ) {
    this.#arena = arena;
    this.#kernels = kernels;
    this.#inputs = inputs;
    this.#output = { buffer: output.storage.buffer, shape: output.shape, dtype: output.dtype };
    this.#state = state;
    this.#held = held.flatMap((tensor) => (tensor === undefined ? [] : [tensor.storage]));
    for (const storage of this.#held) storage.references++;
    arena.addBytes(state?.bytes ?? 0);
    arena.track(this);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  open(op: string, kernels: Kernels): { inputs: AttentionInputs; output: KernelTensor; kept: SavedState } {
    if (kernels !== this.#kernels) {
      throw new BackendMismatchError(`${op}: saved belongs to another backend ('${this.#kernels.name}')`);
    }
    if (this.#disposed) throw new DisposedError(`${op}: saved has been disposed`);
    if (this.#state === null) {
      throw new ValueError(`${op}: saved is empty because attention ran with save: false; leave that option out`);
    }
    return { inputs: this.#inputs, output: this.#output, kept: this.#state };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#arena.forget(this);
    for (const storage of this.#held) this.#arena.release(storage);
    if (this.#state !== null) this.#arena.releaseSaved(this.#state);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
