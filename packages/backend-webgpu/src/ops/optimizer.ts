import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { adamw } from '../wgsl/optimizer.ts';
import { runPointwise } from './shared.ts';

/** AdamW, a dispatch per parameter. */
export function optimizerKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'adamw'> {
  return {
    adamw(updates, { learningRate, beta1, beta2, epsilon, correction1, correction2, clip }) {
      const normSquared = clip?.normSquared.buffer ?? rt.absent();
      for (const { param, grad, m, v, weightDecay } of updates) {
        const buffers = { weights: param.buffer, grads: grad.buffer, firsts: m.buffer, seconds: v.buffer, normSquared };
        runPointwise(rt, adamw, { clip: clip !== null }, buffers, elementCount(param.shape), {
          beta1,
          beta2,
          oneMinusBeta1: 1 - beta1,
          oneMinusBeta2: 1 - beta2,
          decay: learningRate * weightDecay,
          stepSize: learningRate / correction1,
          inverseCorrection2: 1 / correction2,
          epsilon,
          maxNorm: clip?.maxNorm ?? 0,
        });
      }
    },
  };
}
