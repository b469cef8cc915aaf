import { existsSync } from 'node:fs';
import { Backend, BackendUnavailableError } from '@lazy-attention/core';
import { provider, type WebGPUKernels, type WebGPUOptions } from '../src/index.ts';

const LAVAPIPE = '/usr/share/vulkan/icd.d/lvp_icd.json';

// Without a GPU, ask for the software driver alone: other drivers would only be tried in vain.
const hasGpu = ['/dev/dri', '/dev/nvidia0'].some((path) => existsSync(path));
if (process.platform === 'linux' && !hasGpu && existsSync(LAVAPIPE)) process.env.VK_DRIVER_FILES ??= LAVAPIPE;

const probe = await provider.probe();

/** Why tests that need a device are skipped, or null. */
export const unavailable: string | null = probe.available
  ? null
  : `${probe.reason} (fix: ${probe.fix ?? 'none known'})`;

export async function open(options: WebGPUOptions = {}): Promise<{ backend: Backend; kernels: WebGPUKernels }> {
  const kernels = await provider.create({ ...options });
  return { backend: new Backend(kernels), kernels };
}

export const hasF16: boolean = probe.available && (await supportsF16());

async function supportsF16(): Promise<boolean> {
  const kernels = await provider.create({});
  try {
    return kernels.dtypes.has('f16');
  } finally {
    await kernels.dispose();
  }
}

export { BackendUnavailableError };
