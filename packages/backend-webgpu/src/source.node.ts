import { existsSync, readdirSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { BackendUnavailableError } from '@lazy-attention/core';
import type { GpuSource } from './device/adapter.ts';
import { explainVulkan } from './vulkan.ts';

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

/** What Linux offers to Vulkan drivers of real devices: Mesa's, NVIDIA's, WSL's. */
function graphicsDevices(): string[] {
  const render = existsSync('/dev/dri') ? readdirSync('/dev/dri').filter((name) => name.startsWith('renderD')) : [];
  return [
    ...render,
    ...['/dev/nvidiactl', '/dev/dxg', '/dev/mali0', '/dev/kgsl-3d0'].filter((path) => existsSync(path)),
  ];
}

let warned = false;

/** Dawn ends the whole process when its worker thread is terminated within a call. No hook runs before that. */
function warnInWorker(): void {
  if (isMainThread || warned) return;
  warned = true;
  process.emitWarning(
    'webgpu in a worker thread: worker.terminate() during its work aborts the process. Let the worker dispose of the backend ' +
      'and end by itself (README of @lazy-attention/backend-webgpu, Worker threads)',
    { code: 'LAZY_ATTENTION_WEBGPU_WORKER' },
  );
}

/** Dawn, through the npm package `webgpu`. */
export const nodeSource: GpuSource = {
  get requested() {
    return process.env.LAZY_ATTENTION_WEBGPU_ADAPTER || undefined;
  },

  async open() {
    warnInWorker();
    return instance();
  },

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

  hasHardware: () => process.platform !== 'linux' || graphicsDevices().length > 0,

  async explainMissing() {
    if (process.platform !== 'linux') {
      return { reason: 'Dawn found no graphics adapter', fix: 'install or update the graphics driver' };
    }
    return explainVulkan(process.env);
  },
};
