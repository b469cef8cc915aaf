import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { scale } from '../wgsl/elementwise.ts';
import { allocate, runPointwise, scalarOf } from './shared.ts';
import { totalOf } from './sums.ts';

type ArithmeticKernels = Pick<Kernels<DeviceBuffer>, 'scale' | 'sumSquares'>;

/** By a number, and the norm. */
export function arithmeticKernels(rt: Runtime): ArithmeticKernels {
  return {
    scale(x, factor) {
      const out = allocate(rt, x.shape, x.dtype);
      const variant = { type: scalarOf(x.dtype) };
      runPointwise(rt, scale, variant, { x: x.buffer, y: out }, elementCount(x.shape), { factor });
      return out;
    },

    sumSquares: (tensors) => totalOf(rt, tensors, true, 1),
  };
}
