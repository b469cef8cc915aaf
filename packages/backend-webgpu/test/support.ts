import { existsSync } from 'node:fs';
import { Backend, BackendUnavailableError } from '@lazy-attention/core';
import { chooseAdapter, openDevice } from '../src/device/adapter.ts';
import type { Capabilities } from '../src/device/capabilities.ts';
import { Runtime } from '../src/device/runtime.ts';
import { provider, type WebGPUKernels, type WebGPUOptions } from '../src/index.ts';
import { createKernels } from '../src/kernels.ts';
import { nodeSource } from '../src/source.node.ts';

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

/** A backend on `changed` capabilities, with strips of `stripBytes` if given. */
export async function openWith(changed: Partial<Capabilities>, stripBytes?: number): Promise<Backend> {
  const choice = await chooseAdapter(nodeSource, nodeSource.requested);
  const { device, capabilities } = await openDevice(choice);
  const runtime = new Runtime(choice, device, { ...capabilities, ...changed });
  return new Backend(createKernels(runtime, choice.name, stripBytes));
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
