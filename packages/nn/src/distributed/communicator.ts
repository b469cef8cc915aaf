import type { Backend, Tensor } from '@lazy-attention/core';

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
   * Replaces f32 tensors, which have the same shapes everywhere, by their sums over the ranks. Added in an order that depends
   * on the number of ranks alone, so that runs repeat bit for bit and all ranks have the same bits. Waits for the work that
   * computes them and for none that is launched later, which goes on meanwhile; they are left alone until it ends. Tensors,
   * and not arrays, so that what reduces on the device need not go through the host.
   */
  allReduce(backend: Backend, tensors: readonly Tensor[]): Promise<void>;
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
    allReduce: async () => {},
    broadcast: async () => {},
    barrier: async () => {},
    close: async () => {},
    abort: () => {},
  };
}

/** `Communicator.allReduce` by way of the host, for what sums arrays in place. `sum` is called in the order of the calls. */
export function hostAllReduce(sum: (values: Float32Array) => Promise<void>): Communicator['allReduce'] {
  // Shared, since such memory is worked on as it is; used again, since new memory costs more than the copy into it.
  const spares: Float32Array[] = [];
  const take = (length: number): Float32Array => {
    const found = spares.findIndex((spare) => spare.length >= length);
    return found < 0
      ? new Float32Array(new SharedArrayBuffer(4 * length))
      : (spares.splice(found, 1)[0] as Float32Array);
  };
  let last: Promise<unknown> = Promise.resolve();
  return async (backend, tensors) => {
    const length = tensors.reduce((total, { size }) => total + size, 0);
    const memory = take(length);
    const values = memory.subarray(0, length);
    const read = backend.readInto(tensors, values);
    read.catch(() => {}); // seen when its turn comes
    const summed = last.then(() => read).then(() => sum(values));
    last = summed.catch(() => {});
    await summed;
    await backend.writeFrom(tensors, values);
    spares.push(memory);
  };
}
