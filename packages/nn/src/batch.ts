import { type Backend, ShapeError } from '@lazy-attention/core';
import type { Batch } from './model/transformer.ts';

/** A batch in host memory, as samplers give it: arrays of batch * length elements, row by row. */
export interface HostBatch {
  /** [batch * length], row by row. */
  readonly tokens: Int32Array;
  /** [batch * length]: the token after each; -100 where there is none to learn. */
  readonly targets: Int32Array;
  /** [batch * length]: first position that a row attends; null: 0. */
  readonly starts: Int32Array | null;
  /** Rows. */
  readonly batch: number;
  /** Tokens per row. */
  readonly length: number;
}

/** Copies a batch to the device. The caller disposes the tensors. */
export function batchTensors(backend: Backend, host: HostBatch): Batch {
  const shape = [host.batch, host.length];
  for (const name of ['tokens', 'targets', 'starts'] as const) {
    const length = host[name]?.length ?? host.batch * host.length;
    if (length !== host.batch * host.length) {
      throw new ShapeError(
        `batchTensors: ${name} has ${length} elements; expected batch * length = ${host.batch} * ${host.length}`,
      );
    }
  }
  return backend.scope(() => ({
    tokens: backend.tensor(host.tokens, shape),
    targets: backend.tensor(host.targets, shape),
    starts: host.starts === null ? null : backend.tensor(host.starts, shape),
  }));
}
