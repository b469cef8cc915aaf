import type { Backend, Tensor } from '@lazy-attention/core';
import type { Communicator } from './communicator.ts';

/** Pieces that gradients are summed in: what is left when the last is computed is the time that nothing hides. */
const PIECES = 8;
/** Bytes of a piece: below, a message costs more than its bytes; above, its copy on the host is large. */
const LEAST = 2 ** 18;
const MOST = 2 ** 24;

/** Gradients on their way to their sums over the ranks. */
export interface Buckets {
  /** Takes one that is whole; the same on all ranks, in the same order. It is left alone until `finish` resolves. */
  add(grad: Tensor): void;
  /** Resolves when all that were added are sums. Called once. */
  finish(): Promise<void>;
}

/** Sums f32 tensors of `bytes` in all over the ranks, in place, while those that come later are still computed. */
export function summedInBuckets(backend: Backend, communicator: Communicator, bytes: number): Buckets {
  const full = Math.min(MOST, Math.max(LEAST, bytes / PIECES));
  const under: Promise<void>[] = [];
  let bucket: Tensor[] = [];
  let filled = 0;
  const send = (): void => {
    if (bucket.length === 0) return;
    const sums = communicator.allReduce(backend, bucket);
    // Its failure is seen when it is waited for.
    sums.catch(() => {});
    under.push(sums);
    bucket = [];
    filled = 0;
  };
  return {
    add(grad) {
      bucket.push(grad);
      filled += 4 * grad.size;
      if (filled >= full) send();
    },
    async finish() {
      send();
      await Promise.all(under);
    },
  };
}
