import type { Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from './device/buffers.ts';
import type { Runtime, WebGPUStats } from './device/runtime.ts';
import { arithmeticKernels } from './ops/arithmetic.ts';
import { backwardKernels } from './ops/attention/backward.ts';
import { STRIP_BYTES } from './ops/attention/blocks.ts';
import { forwardKernels, type SavedAttention } from './ops/attention/forward.ts';
import { weightKernels } from './ops/attention/weights.ts';
import { decoderKernels } from './ops/decoder.ts';
import { embeddingKernels } from './ops/embedding.ts';
import { lossKernels } from './ops/loss.ts';
import { matmulKernels } from './ops/matmul.ts';
import { normKernels } from './ops/norm.ts';
import { optimizerKernels } from './ops/optimizer.ts';
import { primitiveKernels } from './ops/primitives.ts';
import { ropeKernels } from './ops/rope.ts';
import { storageKernels } from './ops/storage.ts';
import { swigluKernels } from './ops/swiglu.ts';

/** The contract of core, and what only this backend can tell. */
export interface WebGPUKernels extends Kernels<DeviceBuffer, SavedAttention> {
  /** Counters of device memory, dispatches and submits since the backend was created. */
  stats(): WebGPUStats;
  /** Submits what is encoded without waiting for it; `read` and `synchronize` do so by themselves. */
  flush(): void;
  /** Destroys the device under the backend, as a driver reset would: for tests of recovery. */
  loseDevice(): void;
}

/** `stripBytes`: workspace of attention, see ops/attention/blocks.ts; smaller in tests. */
export function createKernels(rt: Runtime, device: string, stripBytes: number = STRIP_BYTES): WebGPUKernels {
  const ops = {
    ...storageKernels(rt),
    ...arithmeticKernels(rt),
    ...primitiveKernels(rt),
    ...matmulKernels(rt),
    ...normKernels(rt),
    ...ropeKernels(rt),
    ...swigluKernels(rt),
    ...embeddingKernels(rt),
    ...lossKernels(rt),
    ...forwardKernels(rt, stripBytes),
    ...backwardKernels(rt, stripBytes),
    ...weightKernels(rt),
    ...optimizerKernels(rt),
  };
  return {
    name: 'webgpu',
    device,
    dtypes: new Set(rt.capabilities.f16 ? ['f32', 'i32', 'f16'] : ['f32', 'i32']),
    ...namingOps(rt, ops),
    decoder: namingOps(rt, decoderKernels(rt)),
    synchronize: () => rt.synchronize(),
    dispose: async () => rt.dispose(),
    stats: () => rt.stats(),
    flush: () => rt.flush(),
    loseDevice: () => rt.loseDevice(),
  };
}

/** Giving memory back works after a device is lost as well. */
const ALWAYS = ['free', 'freeSaved'];

/** Kernels that are told which function to compute, and the place of its name: that names them better. */
const FUNCTION: Readonly<Record<string, number>> = { unary: 1, binary: 2, reduce: 1 };

/** Tells the runtime which op runs, so that errors and device objects carry its name. */
function namingOps<T extends object>(rt: Runtime, ops: T): T {
  const entries = Object.entries(ops).map(([name, op]: [string, (...args: unknown[]) => unknown]) => {
    if (ALWAYS.includes(name)) return [name, op];
    const named = (...args: unknown[]) => {
      rt.begin(name in FUNCTION ? String(args[FUNCTION[name]]) : name);
      return op(...args);
    };
    return [name, named];
  });
  return Object.fromEntries(entries) as T;
}
