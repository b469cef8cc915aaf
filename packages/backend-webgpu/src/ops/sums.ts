import { elementCount } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { finalSum, partialSum } from '../wgsl/sums.ts';
import { type GpuTensor, scalarOf, withScratch } from './shared.ts';

/** Workgroups that share the first stage of a sum; a function of the size alone, so that sums repeat. */
const sumGroups = (elements: number): number => Math.min(256, Math.ceil(elements / 4096));

/** `factor` times the sum over the elements of all tensors, or over their squares, in two stages. One f32. */
export function totalOf(rt: Runtime, tensors: readonly GpuTensor[], squares: boolean, factor: number): DeviceBuffer {
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
    rt.run(finalSum, {}, { buffers: { partial, result }, params: { count: slots, factor }, grid: [1] });
  });
  return result;
}
