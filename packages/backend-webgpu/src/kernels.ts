import type { Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from './device/buffers.ts';
import type { Runtime, WebGPUStats } from './device/runtime.ts';
import { arithmeticKernels } from './ops/arithmetic.ts';
import { attentionKernels, type SavedAttention } from './ops/attention.ts';
import { layerKernels } from './ops/layers.ts';
import { matmulKernels } from './ops/matmul.ts';
import { storageKernels } from './ops/storage.ts';
import { STRIP_BYTES } from './ops/strip.ts';

/** The contract of core, and what only this backend can tell. */
export interface WebGPUKernels extends Kernels<DeviceBuffer, SavedAttention> {
  /** Counters of device memory, dispatches and submits since the backend was created. */
  stats(): WebGPUStats;
  /** Submits what is encoded without waiting for it; `read` and `synchronize` do so by themselves. */
  flush(): void;
  /** Destroys the device under the backend, as a driver reset would: for tests of recovery. */
  loseDevice(): void;
}

/** `stripBytes`: workspace of attention, see ops/strip.ts; smaller in tests. */
export function createKernels(rt: Runtime, device: string, stripBytes: number = STRIP_BYTES): WebGPUKernels {
  const ops = {
    ...storageKernels(rt),
    ...arithmeticKernels(rt),
    ...matmulKernels(rt),
    ...layerKernels(rt),
    ...attentionKernels(rt, stripBytes),
  };
  return {
    name: 'webgpu',
    device,
    dtypes: new Set(rt.capabilities.f16 ? ['f32', 'i32', 'f16'] : ['f32', 'i32']),
    ...namingOps(rt, ops),
    synchronize: () => rt.synchronize(),
    dispose: async () => rt.dispose(),
    stats: () => rt.stats(),
    flush: () => rt.flush(),
    loseDevice: () => rt.loseDevice(),
  };
}

/** Giving memory back works after a device is lost as well. */
const ALWAYS = ['free', 'freeSaved'];

/** Tells the runtime which op runs, so that errors and device objects carry its name. */
function namingOps<T extends object>(rt: Runtime, ops: T): T {
  const entries = Object.entries(ops).map(([name, op]: [string, (...args: unknown[]) => unknown]) => {
    if (ALWAYS.includes(name)) return [name, op];
    const named = (...args: unknown[]) => {
      rt.begin(name);
      return op(...args);
    };
    return [name, named];
  });
  return Object.fromEntries(entries) as T;
}
