import { createKernels } from '@lazy-attention/backend-reference';
import type { Kernels, TensorData } from '@lazy-attention/core';

/** The reference's kernels, whose buffers are plain typed arrays. */
export type ReferenceKernels = Kernels<TensorData>;

/** A mistake that somebody could make in one kernel. */
export interface Mutation {
  readonly kernel: keyof ReferenceKernels;
  readonly name: string;
  /** The wrong kernels that replace the right ones of the same name. */
  readonly wrong: (right: ReferenceKernels) => Partial<ReferenceKernels>;
}

export function mutate(mutation: Mutation): ReferenceKernels {
  const right = createKernels();
  return { ...right, ...mutation.wrong(right) };
}

/** Each value of a buffer through `change`. */
export function changed(buffer: TensorData, change: (value: number, i: number) => number): TensorData {
  const result = buffer.slice();
  for (let i = 0; i < result.length; i++) result[i] = change(buffer[i], i);
  return result;
}
