import type { KernelTensor } from '@lazy-attention/core';
import type * as tf from '@tensorflow/tfjs-core';
import { isOurTensor } from './engine.ts';

/**
 * The backend's handle of a piece of memory. tfjs tensors are immutable, so an op that writes in place puts another
 * tensor into the handle; every core Tensor that looks at the memory looks at the handle, and sees it.
 */
export interface Handle {
  /** What the memory holds now, in any shape of the right size. */
  tensor: tf.Tensor;
}

/** True for a handle whose tensor is of our copy of tfjs-core and alive. */
export function isHandle(buffer: object): buffer is Handle {
  const { tensor } = buffer as Partial<Handle>;
  return typeof tensor === 'object' && tensor !== null && isOurTensor(tensor) && !tensor.isDisposed;
}

/** The tfjs side of core's element types. */
export const TFJS_DTYPE = { f32: 'float32', i32: 'int32' } as const;

/** An operand as the kernels get it from core. */
export type Operand = KernelTensor<Handle>;
