import type { Kernels, SavedState } from '../contract/kernels.ts';
import { LazyAttentionError } from '../errors.ts';
import type { Scoped } from './scoped.ts';
import type { Storage, Tensor } from './tensor.ts';

/** Counts what lives on a backend, and remembers what was made inside each open scope. */
export class Lifetimes {
  #kernels: Kernels | null;
  readonly #scopes: Scoped[][] = [];
  #tensors = 0;
  #bytes = 0;
  #peakBytes = 0;

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  /** The device is gone and has taken its memory with it: from now on nothing is freed there. */
  close(): void {
    this.#kernels = null;
  }

  /** What is alive now, and the most bytes that ever were. */
  memory(): { tensors: number; bytes: number; peakBytes: number } {
    return { tensors: this.#tensors, bytes: this.#bytes, peakBytes: this.#peakBytes };
  }

  /** As `Ops.scope`. */
  scope<T>(fn: () => T): T {
    const made: Scoped[] = [];
    this.#scopes.push(made);
    let kept: Set<unknown> = new Set();
    try {
      const result = fn();
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new LazyAttentionError(
          'VALUE',
          'scope: fn returned a Promise; a scope is synchronous: return the tensors and await their data() outside',
        );
      }
      kept = reachable(result);
      return result;
    } finally {
      this.#scopes.pop();
      for (const item of made) {
        item.scope = null;
        if (kept.has(item)) this.track(item);
        else item.dispose();
      }
    }
  }

  /** Leaves `item` to the innermost open scope, if there is one. */
  track(item: Scoped): void {
    const scope = this.#scopes.at(-1);
    if (scope === undefined) return;
    item.scope = scope;
    item.scopeIndex = scope.push(item) - 1;
  }

  /** Takes `item`, disposed before its scope ends, out of the scope. The last one there moves into its place. */
  forget(item: Scoped): void {
    const { scope, scopeIndex } = item;
    if (scope === null) return;
    item.scope = null;
    const last = scope.pop() as Scoped;
    if (last === item) return;
    last.scopeIndex = scopeIndex;
    scope[scopeIndex] = last;
  }

  /** Counts a new tensor, and the tensor as a reference to its storage. */
  add(tensor: Tensor): Tensor {
    tensor.storage.references++;
    this.#tensors++;
    this.track(tensor);
    return tensor;
  }

  /** The opposite of `add`, for a tensor that has just been disposed. */
  drop(tensor: Tensor): void {
    this.#tensors--;
    this.forget(tensor);
    this.release(tensor.storage);
  }

  /** As `drop`, for a tensor that the garbage collector has taken; no scope held it. */
  lose(storage: Storage): void {
    this.#tensors--;
    this.release(storage);
  }

  /** Counts the bytes of a new storage. */
  hold(storage: Storage): Storage {
    this.addBytes(storage.bytes);
    return storage;
  }

  /** Counts bytes that a saved attention holds. */
  addBytes(bytes: number): void {
    this.#bytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
  }

  /** Drops one reference; the last one frees. */
  release(storage: Storage): void {
    storage.references--;
    if (storage.references > 0) return;
    this.#bytes -= storage.bytes;
    this.#kernels?.free(storage.buffer);
  }

  /** Gives back what a backend kept of an attention. */
  releaseSaved(state: SavedState): void {
    this.#bytes -= state.bytes;
    this.#kernels?.freeSaved(state);
  }
}

/** Everything that a returned value holds, through arrays, plain objects, Maps and Sets. */
function reachable(value: unknown, found = new Set<unknown>()): Set<unknown> {
  if (typeof value !== 'object' || value === null || found.has(value)) return found;
  found.add(value);
  if (value instanceof Map) {
    for (const [key, item] of value) {
      reachable(key, found);
      reachable(item, found);
    }
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) reachable(item, found);
  } else if (isPlain(value)) {
    for (const item of Object.values(value)) reachable(item, found);
  }
  return found;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
