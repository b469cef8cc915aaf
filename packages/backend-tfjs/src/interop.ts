import { type Backend, DTypeError, type Tensor, UnsupportedError, ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { isOurTensor } from './engine.ts';
import type { Handle } from './handle.ts';

/**
 * A float32 tfjs tensor as a tensor of a 'tfjs' backend, on the same memory. Both are disposed separately; writes in
 * place to the result (`copyInto`, `adamw`, `matmul` with accumulate) are not seen by `x`.
 *
 * @throws DTypeError for int32 and others: core checks indices on the host, so index tensors are made with
 *   `backend.tensor(await x.data(), x.shape)`.
 * @throws ValueError for a tensor of another copy of tfjs-core.
 */
export function fromTfjs(backend: Backend, x: tf.Tensor): Tensor {
  checkBackend('fromTfjs', backend);
  if (!isOurTensor(x)) {
    throw new ValueError(
      'fromTfjs: x is no tensor of this copy of @tensorflow/tfjs-core; npm ls @tensorflow/tfjs-core shows the copies, npm dedupe joins them',
    );
  }
  if (x.dtype !== 'float32') {
    throw new DTypeError(
      `fromTfjs: x is ${x.dtype}; expected float32. Index tensors: backend.tensor(await x.data(), x.shape)`,
    );
  }
  // Not tf.clone, which copies on wasm.
  const handle: Handle = { tensor: tf.keep(tf.reshape(x, x.shape)) };
  try {
    return backend.adopt(handle, x.shape, 'f32');
  } catch (error) {
    handle.tensor.dispose();
    throw error;
  }
}

/**
 * A tensor of a 'tfjs' backend as a tfjs tensor on the same memory. The caller disposes it (or a `tf.tidy` does); later
 * writes in place to `x` are not seen by it.
 */
export function toTfjs(x: Tensor): tf.Tensor {
  checkBackend('toTfjs', x.backend);
  const { tensor } = x.backend.bufferOf(x) as Handle;
  return tf.reshape(tensor, [...x.shape]);
}

function checkBackend(op: string, backend: Backend): void {
  if (backend.name !== 'tfjs') {
    throw new UnsupportedError(`${op}: backend is '${backend.name}'; expected a 'tfjs' backend`);
  }
}
