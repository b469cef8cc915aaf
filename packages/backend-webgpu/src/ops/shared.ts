import { bytesPerElement, type DType, elementCount, type KernelTensor, statisticsDType } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Grid } from '../device/commands.ts';
import type { Runtime } from '../device/runtime.ts';
import type { KernelSource } from '../wgsl/module.ts';

export type GpuTensor = KernelTensor<DeviceBuffer>;

/** Most workgroups per dimension that every adapter allows. */
const MAX_GROUPS = 65535;

/** A grid of at least `count` workgroups; kernels linearise x and y and skip what is too much. */
export function linearGrid(count: number): Grid {
  if (count <= MAX_GROUPS) return [count];
  const y = Math.ceil(count / MAX_GROUPS);
  return [Math.ceil(count / y), y];
}

/** Element type as kernels see it. f64 and bf16 never get here: the backend does not declare them. */
export function scalarOf(dtype: DType): 'f32' | 'f16' {
  return dtype === 'f16' ? 'f16' : 'f32';
}

export function allocate(rt: Runtime, shape: readonly number[], dtype: DType): DeviceBuffer {
  return rt.acquire(elementCount(shape) * bytesPerElement(dtype));
}

export function allocateStatistics(rt: Runtime, shape: readonly number[], dtype: DType): DeviceBuffer {
  return allocate(rt, shape, statisticsDType(dtype));
}

/** Runs `fn` with buffers of the given numbers of f32 that go back to the pool afterwards. */
export function withScratch<T>(rt: Runtime, floats: readonly number[], fn: (...buffers: DeviceBuffer[]) => T): T {
  const buffers: DeviceBuffer[] = [];
  try {
    for (const count of floats) buffers.push(rt.acquire(count * 4));
    return fn(...buffers);
  } finally {
    for (const buffer of buffers) rt.release(buffer);
  }
}

/** A kernel over `elements` in groups of four, whose first parameter is the number of groups. */
export function runPointwise(
  rt: Runtime,
  key: string,
  source: () => KernelSource,
  buffers: readonly DeviceBuffer[],
  elements: number,
  params: readonly number[] = [],
): void {
  const vectors = Math.ceil(elements / 4);
  rt.run(key, source, buffers, [vectors, ...params], linearGrid(Math.ceil(vectors / 64)));
}
