import type { KernelTensor } from '@lazy-attention/core';
import type * as tf from '@tensorflow/tfjs-core';

/**
 * The backend's handle. tfjs tensors are immutable, so an op that writes in place puts another tensor into the cell;
 * every core Tensor that looks at the memory looks at the cell, and sees it.
 */
export interface Cell {
  tensor: tf.Tensor;
}

/** The tfjs side of core's element types. */
export const TFJS_DTYPE = { f32: 'float32', i32: 'int32' } as const;

export type TensorOf = KernelTensor<Cell>;
