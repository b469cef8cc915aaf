import { checkStillThere, typedLength } from '@lazy-attention/core';

/** A typed array's own getter, past what an object may say of itself. */
const bufferOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'buffer')?.get as (
  this: ArrayBufferView,
) => ArrayBufferLike;

type Numbers = Float32Array | Float64Array | Uint8Array;

/**
 * `array` itself where its memory is a SharedArrayBuffer's, which cannot be transferred to somebody who frees it while another
 * thread works on it; else a copy that is such.
 */
export function sharedMemory<A extends Numbers>(array: A): A {
  if (bufferOf.call(array) instanceof SharedArrayBuffer) return array;
  const memory = new SharedArrayBuffer(array.BYTES_PER_ELEMENT * typedLength(array));
  const copy: Numbers =
    array instanceof Float32Array
      ? new Float32Array(memory)
      : array instanceof Float64Array
        ? new Float64Array(memory)
        : new Uint8Array(memory);
  copy.set(array);
  return copy as A;
}

/**
 * `work`, of other threads, on the numbers of `array`: in its memory or, where that is not shared, in a copy.
 * @throws ValueError where the memory of `array` is transferred before the work is done
 */
export async function workOn<A extends Numbers>(
  op: string,
  array: A,
  work: (array: A) => Promise<unknown>,
): Promise<void> {
  const own = sharedMemory(array);
  await work(own);
  if (own === array) return;
  checkStillThere(op, array, own.length);
  array.set(own);
}
