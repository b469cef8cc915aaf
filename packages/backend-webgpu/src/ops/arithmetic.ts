import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { add, mul, scale } from '../wgsl/elementwise.ts';
import { finalSum, partialSum } from '../wgsl/sums.ts';
import { allocate, type GpuTensor, runPointwise, scalarOf, withScratch } from './shared.ts';

type ArithmeticKernels = Pick<Kernels<DeviceBuffer>, 'add' | 'mul' | 'scale' | 'sum' | 'sumSquares'>;

/** Workgroups that share the first stage of a sum; a function of the size alone, so that sums repeat. */
const sumGroups = (elements: number): number => Math.min(256, Math.ceil(elements / 4096));

/** Sum over the elements of all tensors, in two stages. */
function total(rt: Runtime, tensors: readonly GpuTensor[], squares: boolean): DeviceBuffer {
  const groups = tensors.map((x) => sumGroups(elementCount(x.shape)));
  const slots = groups.reduce((a, b) => a + b);
  const result = rt.acquire(4);
  withScratch(rt, [slots], (partial) => {
    let slot = 0;
    for (const [i, x] of tensors.entries()) {
      rt.run(
        partialSum,
        { type: scalarOf(x.dtype), squares },
        { buffers: { x: x.buffer, partial }, params: { elements: elementCount(x.shape), slot }, grid: [groups[i]] },
      );
      slot += groups[i];
    }
    rt.run(finalSum, {}, { buffers: { partial, result }, params: { count: slots, factor: 1 }, grid: [1] });
  });
  return result;
}

export function arithmeticKernels(rt: Runtime): ArithmeticKernels {
  return {
    add(a, b) {
      const out = allocate(rt, a.shape, a.dtype);
      const buffers = { a: a.buffer, b: b.buffer, sum: out };
      runPointwise(rt, add, { type: scalarOf(a.dtype) }, buffers, elementCount(a.shape));
      return out;
    },

    mul(a, b) {
      const out = allocate(rt, a.shape, a.dtype);
      const buffers = { a: a.buffer, b: b.buffer, product: out };
      runPointwise(rt, mul, { type: scalarOf(a.dtype) }, buffers, elementCount(a.shape));
      return out;
    },

    scale(x, factor) {
      const out = allocate(rt, x.shape, x.dtype);
      const variant = { type: scalarOf(x.dtype) };
      runPointwise(rt, scale, variant, { x: x.buffer, y: out }, elementCount(x.shape), { factor });
      return out;
    },

    sum: (x) => total(rt, [x], false),

    sumSquares: (tensors) => total(rt, tensors, true),
  };
}
