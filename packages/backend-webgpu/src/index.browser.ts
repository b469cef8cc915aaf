import { createProvider, type WebGPUProvider } from './provider.ts';
import { browserSource } from './source.browser.ts';

export { DeviceValidationError } from './device/faults.ts';
export type { WebGPUStats } from './device/runtime.ts';
export type { WebGPUKernels } from './kernels.ts';
export type { WebGPUOptions, WebGPUProvider } from './provider.ts';

/** WebGPU in a browser, through `navigator.gpu`. */
export const provider: WebGPUProvider = createProvider(browserSource);
