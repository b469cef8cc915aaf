import { readdir } from 'node:fs/promises';
import { BackendUnavailableError } from '@lazy-attention/core';
import type { GpuSource } from './device/adapter.ts';

interface Dawn {
  create(options: string[]): GPU;
}

/** The npm package `webgpu` (Dawn), an optional peer: loaded only when this backend is asked for. */
async function loadDawn(): Promise<Dawn> {
  try {
    return (await import('webgpu')) as Dawn;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const missing = (error as NodeJS.ErrnoException)?.code === 'ERR_MODULE_NOT_FOUND' && message.includes("'webgpu'");
    throw new BackendUnavailableError(
      'webgpu',
      missing
        ? "the npm package 'webgpu' (Dawn) is not installed"
        : `the npm package 'webgpu' (Dawn) does not load: ${message}`,
      missing
        ? 'npm install webgpu'
        : `npm rebuild webgpu, or use a platform that it supports (this is ${process.platform}-${process.arch})`,
      { cause: error },
    );
  }
}

/**
 * Dawn's instances by their options, kept for good: Dawn crashes when an instance is collected before the last object
 * that came from it. An instance without a device does not keep the process from ending.
 */
const instances = new Map<string, GPU>();

async function instance(option?: string): Promise<GPU> {
  const key = option ?? '';
  const known = instances.get(key);
  if (known !== undefined) return known;
  const gpu = (await loadDawn()).create(option === undefined ? [] : [option]);
  instances.set(key, gpu);
  return gpu;
}

/** Names of the Vulkan drivers that are registered on this Linux machine. */
async function vulkanDrivers(): Promise<string[]> {
  const chosen = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  if (chosen !== undefined) return chosen.split(':');
  const names: string[] = [];
  for (const folder of ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d']) {
    try {
      names.push(...(await readdir(folder)).filter((name) => name.endsWith('.json')));
    } catch {
      // A folder that is not there registers nothing.
    }
  }
  return names;
}

export const nodeSource: GpuSource = {
  get requested() {
    return process.env.LAZY_ATTENTION_WEBGPU_ADAPTER || undefined;
  },

  open: () => instance(),

  async openNamed(name) {
    try {
      const gpu = await instance(`adapter=${name}`);
      const adapter = await gpu.requestAdapter();
      return adapter === null ? null : { gpu, adapter };
    } catch {
      // Dawn throws when the name fits nothing; the caller lists what there is.
      return null;
    }
  },

  async explainMissing() {
    if (process.platform !== 'linux') {
      return { reason: 'Dawn found no graphics adapter', fix: 'install or update the graphics driver' };
    }
    const drivers = await vulkanDrivers();
    const software =
      'for a software adapter install Mesa 23 or newer (Debian 12: apt-get install -t bookworm-backports mesa-vulkan-drivers libvulkan1)';
    if (drivers.length === 0) {
      return {
        reason: 'Dawn found no adapter: no Vulkan driver is registered in /usr/share/vulkan/icd.d or /etc/vulkan/icd.d',
        fix: `install the Vulkan driver of your GPU; ${software}`,
      };
    }
    return {
      reason:
        `Dawn accepted none of the Vulkan drivers here (${drivers.join(', ')}): there is no such device, libvulkan.so.1 is ` +
        'missing, or the driver is too old (Mesa 22.3 lacks shaderUniform*ArrayDynamicIndexing, which Dawn needs)',
      fix: `update the graphics driver and install libvulkan1; ${software}`,
    };
  },
};
