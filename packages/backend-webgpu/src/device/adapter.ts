import { BackendUnavailableError } from '@lazy-attention/core';
import type { Capabilities } from './capabilities.ts';

/** Where WebGPU comes from: Dawn in Node, `navigator.gpu` in a browser. */
export interface GpuSource {
  /** Throws `BackendUnavailableError` when there is no WebGPU at all. */
  open(): Promise<GPU>;
  /** An adapter whose name contains `name`, where the environment can look beyond what `requestAdapter` offers. */
  openNamed(name: string): Promise<{ readonly gpu: GPU; readonly adapter: GPUAdapter } | null>;
  /** Why there may be no adapter here, and what to do about it. */
  explainMissing(): Promise<{ readonly reason: string; readonly fix: string }>;
  /** False where there is plainly no graphics hardware. Left out: that cannot be told without a driver. */
  hasHardware?(): boolean;
  /** The user's choice of adapter outside of the program. */
  readonly requested: string | undefined;
}

/** An adapter, with what has to live as long as it. */
export interface AdapterChoice {
  /** Kept for as long as the device: Dawn stops working when this object is collected. */
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  /** For people: 'llvmpipe: Mesa 25.0.7 (LLVM 15.0.6)'. */
  readonly name: string;
  /** True when the adapter computes on the CPU. */
  readonly software: boolean;
}

const SOFTWARE = /llvmpipe|lavapipe|swiftshader|softpipe|software|basic render|\bwarp\b/i;

/** What every kernel relies on; the defaults of WebGPU outside of compatibility mode. */
const REQUIRED: readonly (readonly [keyof GPUSupportedLimits, number])[] = [
  ['maxStorageBuffersPerShaderStage', 8],
  ['maxComputeInvocationsPerWorkgroup', 256],
  ['maxComputeWorkgroupSizeX', 256],
  ['maxComputeWorkgroupStorageSize', 16384],
];

/** Asked for as high as the adapter goes: sizes of tensors. */
const RAISED = ['maxBufferSize', 'maxStorageBufferBindingSize'] as const;

/** The adapter with a name for people, and whether it computes on the CPU. */
export function describeAdapter(gpu: GPU, adapter: GPUAdapter): AdapterChoice {
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  const name = description || [vendor, architecture, device].filter(Boolean).join(' ') || 'unnamed adapter';
  const software = isFallbackAdapter === true || SOFTWARE.test(`${vendor} ${architecture} ${device} ${description}`);
  return { gpu, adapter, name, software };
}

/**
 * The adapter to run on. `wanted`: 'hardware', 'software', or part of an adapter's name; left out, hardware is taken
 * before software.
 */
export async function chooseAdapter(source: GpuSource, wanted: string | undefined): Promise<AdapterChoice> {
  const gpu = await source.open();
  const found: AdapterChoice[] = [];
  for (const options of [
    { powerPreference: 'high-performance' },
    { powerPreference: 'low-power' },
    { forceFallbackAdapter: true },
  ] satisfies GPURequestAdapterOptions[]) {
    const adapter = await gpu.requestAdapter(options);
    if (adapter !== null) found.push(describeAdapter(gpu, adapter));
    // The usual case needs only one question.
    if (wanted === undefined && found.length === 1 && !found[0].software) break;
  }

  const matches = (choice: AdapterChoice): boolean => {
    if (wanted === undefined) return true;
    if (wanted === 'hardware') return !choice.software;
    if (wanted === 'software') return choice.software;
    return choice.name.toLowerCase().includes(wanted.toLowerCase());
  };
  const candidates = found.filter(matches);
  const choice = candidates.find(({ software }) => !software) ?? candidates[0];
  if (choice !== undefined) return choice;

  if (wanted !== undefined && wanted !== 'hardware' && wanted !== 'software') {
    const named = await source.openNamed(wanted);
    if (named !== null) return describeAdapter(named.gpu, named.adapter);
  }
  if (found.length === 0) {
    const { reason, fix } = await source.explainMissing();
    throw new BackendUnavailableError('webgpu', reason, fix);
  }
  const names = [...new Set(found.map(({ name, software }) => `'${name}'${software ? ' (software)' : ''}`))].join(', ');
  throw new BackendUnavailableError(
    'webgpu',
    `no adapter matches '${wanted}'; found ${names}`,
    "set option 'adapter' or LAZY_ATTENTION_WEBGPU_ADAPTER to 'hardware', 'software' or part of one of these names, or leave it out",
  );
}

/** Opens the device with the limits and features that the kernels can use. */
export async function openDevice(choice: AdapterChoice): Promise<{ device: GPUDevice; capabilities: Capabilities }> {
  const { adapter, name, software } = choice;
  for (const [limit, least] of REQUIRED) {
    const has = adapter.limits[limit] as number;
    if (!(has >= least)) {
      throw new BackendUnavailableError(
        'webgpu',
        `adapter '${name}' has ${limit} ${has}; the kernels need ${least}`,
        'update the graphics driver or choose another adapter or backend',
      );
    }
  }
  const requiredLimits: Record<string, number> = {};
  for (const limit of RAISED) requiredLimits[limit] = adapter.limits[limit];
  const requiredFeatures = (['shader-f16', 'subgroups'] as const).filter((feature) => adapter.features.has(feature));
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({ label: 'lazy-attention', requiredLimits, requiredFeatures });
  } catch (error) {
    throw new BackendUnavailableError(
      'webgpu',
      `adapter '${name}' gave no device: ${error instanceof Error ? error.message : String(error)}`,
      'update the graphics driver or choose another adapter or backend',
      { cause: error },
    );
  }
  const capabilities: Capabilities = {
    f16: requiredFeatures.includes('shader-f16'),
    subgroups: requiredFeatures.includes('subgroups'),
    software,
  };
  return { device, capabilities };
}
