import { LazyAttentionError } from './errors.ts';
import type { Kernels, SavedState } from './kernels.ts';
import type { Storage } from './tensor.ts';
import { Tensor } from './tensor.ts';

interface Releasable {
  dispose(): void;
}

/** Counts what lives on a backend, and remembers what was made inside each open scope. */
export class Arena {
  #kernels: Kernels | null;
  readonly #scopes: Set<Releasable>[] = [];
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

  memory(): { tensors: number; bytes: number; peakBytes: number } {
    return { tensors: this.#tensors, bytes: this.#bytes, peakBytes: this.#peakBytes };
  }

  scope<T>(fn: () => T): T {
    const made = new Set<Releasable>();
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
      const outer = this.#scopes.at(-1);
      for (const item of made) {
        if (kept.has(item)) outer?.add(item);
        else item.dispose();
      }
    }
  }

  register(item: Releasable): void {
    if (item instanceof Tensor) this.#tensors++;
    this.#scopes.at(-1)?.add(item);
  }

  forget(item: Releasable): void {
    if (item instanceof Tensor) this.#tensors--;
    // Most are disposed in the scope that made them; the search ends there.
    for (let i = this.#scopes.length - 1; i >= 0; i--) if (this.#scopes[i].delete(item)) return;
  }

  hold(storage: Storage): Storage {
    this.addBytes(storage.bytes);
    return storage;
  }

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
