import type { Backend, Tensor } from '@lazy-attention/core';
import { neighbours } from '../groups.ts';

/**
 * Processes that train one model together, each a rank. All of them make the same calls in the same order; a call ends on a rank
 * when its part of it is done.
 */
export interface Communicator {
  /** For people: 'one process', 'Open MPI v4.1.4'. */
  readonly name: string;
  /** Of this process, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /**
   * Sums over the ranks of f32 tensors, which have the same shapes everywhere. Added in an order that depends on the
   * number of ranks alone, so that runs repeat bit for bit and all ranks have the same bits. The caller disposes
   * the sums. Tensors, and not arrays, so that what reduces on the device need not go through the host.
   */
  allReduce(backend: Backend, tensors: readonly Tensor[]): Promise<Tensor[]>;
  /** Fills `bytes`, of the same length everywhere, with those of rank `root`. */
  broadcast(bytes: Uint8Array, root: number): Promise<void>;
  /** Ends when every rank is here. */
  barrier(): Promise<void>;
  /** Leaves; called once by every rank, as the last. */
  close(): Promise<void>;
  /** Ends all ranks with an exit code, for a rank that cannot go on; does nothing in a process on its own. */
  abort(code: number): void;
}

/** A process on its own: every sum is what it sums. */
export function oneProcess(): Communicator {
  return {
    name: 'one process',
    rank: 0,
    size: 1,
    allReduce: async (backend, tensors) => tensors.map((tensor) => backend.reshape(tensor, tensor.shape)),
    broadcast: async () => {},
    barrier: async () => {},
    close: async () => {},
    abort: () => {},
  };
}

/** Bytes that are summed at a time: while one bucket is under way the next is read from the device. */
const BUCKET = 2 ** 24;

/** `Communicator.allReduce` for what sums arrays on the host, in place and in the order of the calls. */
export async function hostAllReduce(
  backend: Backend,
  tensors: readonly Tensor[],
  sum: (values: Float32Array) => Promise<void>,
  bucketBytes = BUCKET,
): Promise<Tensor[]> {
  const sums: Tensor[] = [];
  try {
    let under: { done: Promise<void>; bucket: Bucket } | null = null;
    const settle = async (): Promise<void> => {
      if (under === null) return;
      await under.done;
      for (const { shape, at, length } of under.bucket.places) {
        sums.push(backend.tensor(under.bucket.values.slice(at, at + length), shape, 'f32'));
      }
      under = null;
    };
    for (const group of neighbours(tensors, ({ size }) => size, bucketBytes / 4)) {
      const bucket = await readBucket(group);
      await settle();
      const done = sum(bucket.values);
      // Its failure is seen when it is waited for.
      done.catch(() => {});
      under = { done, bucket };
    }
    await settle();
    return sums;
  } catch (error) {
    for (const tensor of sums) tensor.dispose();
    throw error;
  }
}

interface Bucket {
  readonly values: Float32Array;
  readonly places: readonly { readonly shape: readonly number[]; readonly at: number; readonly length: number }[];
}

async function readBucket(tensors: readonly Tensor[]): Promise<Bucket> {
  const parts = await Promise.all(tensors.map((tensor) => tensor.data()));
  const values = new Float32Array(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  const places = parts.map((part, i) => {
    values.set(part as Float32Array, at);
    const place = { shape: tensors[i]!.shape, at, length: part.length };
    at += part.length;
    return place;
  });
  return { values, places };
}
