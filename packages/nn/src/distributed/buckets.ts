import type { Backend, Tensor } from '@lazy-attention/core';
import type { Communicator } from './communicator.ts';

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

/**
 * Sums f32 tensors of `bytes` in all over the ranks, in place, while those that come later are still computed. Each piece is half of
 * what is left: few messages, and the last, whose time nothing hides, is small.
 */
export function summedInBuckets(backend: Backend, communicator: Communicator, bytes: number): Buckets {
  let left = bytes;
  const full = (): number => Math.min(MOST, Math.max(LEAST, left / 2));
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
    left -= filled;
    filled = 0;
  };
  return {
    add(grad) {
      bucket.push(grad);
      filled += 4 * grad.size;
      if (filled >= full()) send();
    },
    async finish() {
      send();
      await Promise.all(under);
    },
  };
}
