import * as tf from '@tensorflow/tfjs-core';
import { type HostKernel, runHostKernel } from './host-kernel.ts';

/** max(x, 0), NaN for NaN: XNNPACK's compares bits, so that it takes a NaN with a sign, like Infinity - Infinity, for negative. */
export function relu<T extends tf.Tensor>(x: T): T {
  return (tf.getBackend() === 'wasm' ? runHostKernel(RELU, [x], {}, x.shape) : tf.relu(x)) as T;
}

const RELU: HostKernel<object> = {
  name: 'LazyAttentionRelu',
  fill(output, [x]) {
    for (let i = 0; i < x.length; i++) output[i] = x[i] < 0 ? 0 : x[i];
  },
};
