import {
  type BackendProvider,
  BackendUnavailableError,
  checkOptions,
  type ProbeResult,
  ValueError,
} from '@lazy-attention/core';
import { type AdapterChoice, chooseAdapter, type GpuSource, openDevice } from './device/adapter.ts';
import { Runtime } from './device/runtime.ts';
import { createKernels, type WebGPUKernels } from './kernels.ts';

/** What `createBackend('webgpu', options)` takes. */
export interface WebGPUOptions {
  /**
   * 'hardware', 'software', or part of an adapter's name. Default: LAZY_ATTENTION_WEBGPU_ADAPTER (Node), else hardware
   * before software.
   */
  readonly adapter?: string;
}

/** This package's door for core. */
export interface WebGPUProvider extends BackendProvider {
  /**
   * Opens a device. @throws BackendUnavailableError where no adapter fits or the device has too low limits, ValueError for an
   * option that is unknown or no string
   */
  create(options: Readonly<Record<string, unknown>> & WebGPUOptions): Promise<WebGPUKernels>;
}

function describe({ name, software }: AdapterChoice): string {
  return software ? `${name} (software)` : name;
}

/** The provider on WebGPU from `source`. */
export function createProvider(source: GpuSource): WebGPUProvider {
  const start = async (wanted: string | undefined): Promise<{ choice: AdapterChoice; kernels: WebGPUKernels }> => {
    const choice = await chooseAdapter(source, wanted);
    const { device, capabilities } = await openDevice(choice);
    return { choice, kernels: createKernels(new Runtime(choice, device, capabilities), describe(choice)) };
  };

  return {
    name: 'webgpu',
    hasHardware: () => source.hasHardware?.() ?? true,

    /** Runs one small kernel, so that 'available' means that it works. */
    async probe(): Promise<ProbeResult> {
      let device = '';
      try {
        const { choice, kernels } = await start(source.requested);
        device = describe(choice);
        try {
          const buffer = kernels.full([5], 3, 'f32');
          const values = await kernels.read({ buffer, shape: [5], dtype: 'f32' });
          if (values.some((value) => value !== 3)) {
            return {
              available: false,
              device,
              reason: `the adapter computes wrong results: expected 3, got ${values.join(', ')}`,
              fix: 'update the graphics driver or choose another adapter with LAZY_ATTENTION_WEBGPU_ADAPTER',
            };
          }
        } finally {
          await kernels.dispose();
        }
        const reason = choice.software
          ? 'WebGPU works, on an adapter that computes on the CPU; good for tests, slow for work'
          : 'WebGPU works';
        return { available: true, device, reason, software: choice.software };
      } catch (error) {
        const known = error instanceof BackendUnavailableError;
        const reason = known ? error.reason : error instanceof Error ? error.message : String(error);
        const fix = known ? error.fix : undefined;
        return { available: false, device, reason, ...(fix === undefined ? {} : { fix }) };
      }
    },

    async create(options) {
      checkOptions('createBackend(webgpu)', options, ['adapter']);
      const wanted = options.adapter ?? source.requested;
      if (wanted !== undefined && typeof wanted !== 'string') {
        throw new ValueError(
          `createBackend(webgpu): adapter is ${String(wanted)}; expected 'hardware', 'software' or a name`,
        );
      }
      return (await start(wanted)).kernels;
    },
  };
}
