import { createProvider, type WebGPUProvider } from './provider.ts';
import { nodeSource } from './source.node.ts';

export { DeviceValidationError } from './device/faults.ts';
export type { WebGPUStats } from './device/runtime.ts';
export type { WebGPUKernels } from './kernels.ts';
export type { WebGPUOptions, WebGPUProvider } from './provider.ts';

/** WebGPU in Node, through Dawn (npm package `webgpu`). */
export const provider: WebGPUProvider = createProvider(nodeSource);
