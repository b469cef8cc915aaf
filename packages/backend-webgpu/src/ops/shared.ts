import { bytesPerElement, type DType, elementCount, type KernelTensor, statisticsDType } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Grid } from '../device/commands.ts';
import type { Runtime } from '../device/runtime.ts';
import { ELEMENTWISE_THREADS } from '../wgsl/elementwise.ts';
import type { Kernel, Scalar } from '../wgsl/kernel.ts';

/** A tensor of this backend, as core hands it in. */
export type GpuTensor = KernelTensor<DeviceBuffer>;

/** Most workgroups per dimension that every adapter allows. */
export const MAX_GROUPS = 65535;

/** A grid of at least `count` workgroups; kernels linearise x and y and skip what is too much. */
export function linearGrid(count: number): Grid {
  if (count <= MAX_GROUPS) return [count];
  const y = Math.ceil(count / MAX_GROUPS);
  return [Math.ceil(count / y), y];
}

/** Element type as kernels see it. f64 and bf16 never get here: the backend does not declare them. */
export function scalarOf(dtype: DType): Scalar {
  return dtype === 'f16' ? 'f16' : 'f32';
}

/** Room for a tensor, contents undefined. */
export function allocate(rt: Runtime, shape: readonly number[], dtype: DType): DeviceBuffer {
  return rt.acquire(elementCount(shape) * bytesPerElement(dtype));
}

/** The same in the statistics type of operands of `dtype`. */
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

/** The grid of kernels with an invocation for each of `count` elements or vec4s. */
export const elementGrid = (count: number): Grid => linearGrid(Math.ceil(count / ELEMENTWISE_THREADS));

/** A kernel over `elements` in groups of four, `vectors` of them, and its other parameters. */
export function runPointwise<V extends object, B extends string, P extends string = never>(
  rt: Runtime,
  kernel: Kernel<V, B, P | 'vectors'>,
  variant: V,
  buffers: Readonly<Record<B, DeviceBuffer>>,
  elements: number,
  params: Readonly<Record<P, number>> = {} as Readonly<Record<P, number>>,
): void {
  const vectors = Math.ceil(elements / 4);
  const all = { ...params, vectors } as Readonly<Record<P | 'vectors', number>>;
  rt.run(kernel, variant, { buffers, params: all, grid: elementGrid(vectors) });
}
