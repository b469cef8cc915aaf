import { warn } from '../warn.ts';
import type { Storage } from './tensor.ts';

/** What stays known of a tensor that the garbage collector has taken. */
export interface Watched {
  /** Null from `Tensor.dispose` on: nothing was forgotten, and a buffer that is host memory must not be kept by this. */
  storage: Storage | null;
  /** The op that made it. */
  readonly op: string;
}

/**
 * Bytes from which a tensor is watched. To register one costs several times as much as to make it, so small ones, which
 * are launched by the ten thousand, are not.
 */
export const WATCHED_BYTES = 2 ** 16;

/** Calls `free` for each watched tensor that was dropped without `dispose`, and warns once per op. */
export function watchForgotten(free: (storage: Storage) => void): (tensor: object, watched: Watched) => void {
  const warned = new Set<string>();
  const registry = new FinalizationRegistry<Watched>(({ storage, op }) => {
    if (storage === null) return;
    free(storage);
    if (warned.has(op)) return;
    warned.add(op);
    warn(
      `a tensor of ${storage.bytes} bytes made by ${op} was dropped without dispose() and is freed by the garbage collector, which may come late; use dispose(), 'using' or backend.scope`,
    );
  });
  return (tensor, watched) => registry.register(tensor, watched);
}
