import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { scale } from '../wgsl/elementwise.ts';
import { binary } from '../wgsl/primitives.ts';
import { allocate, type GpuTensor, runPointwise, scalarOf } from './shared.ts';
import { totalOf } from './sums.ts';

type ArithmeticKernels = Pick<Kernels<DeviceBuffer>, 'add' | 'mul' | 'scale' | 'sum' | 'sumSquares'>;

/** Sums and products of tensors of one shape, and sums over all elements. */
export function arithmeticKernels(rt: Runtime): ArithmeticKernels {
  const sameShape = (a: GpuTensor, b: GpuTensor, fn: 'add' | 'mul'): DeviceBuffer => {
    const out = allocate(rt, a.shape, a.dtype);
    const variant = { fn, type: scalarOf(a.dtype), a: 'vector', b: 'vector' } as const;
    runPointwise(rt, binary, variant, { left: a.buffer, right: b.buffer, out }, elementCount(a.shape));
    return out;
  };

  return {
    add: (a, b) => sameShape(a, b, 'add'),

    mul: (a, b) => sameShape(a, b, 'mul'),

    scale(x, factor) {
      const out = allocate(rt, x.shape, x.dtype);
      const variant = { type: scalarOf(x.dtype) };
      runPointwise(rt, scale, variant, { x: x.buffer, y: out }, elementCount(x.shape), { factor });
      return out;
    },

    sum: (x) => totalOf(rt, [x], false, 1),

    sumSquares: (tensors) => totalOf(rt, tensors, true, 1),
  };
}
