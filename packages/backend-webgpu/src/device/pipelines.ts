import { UnsupportedError } from '@lazy-attention/core';
import { type Kernel, type KernelText, keyOf } from '../wgsl/kernel.ts';
import { type DeviceTraits, wgslModule } from '../wgsl/module.ts';
import type { DeviceBuffer } from './buffers.ts';
import type { Faults } from './faults.ts';
import { PARAMETER_BYTES, type ParameterWriter, parameterWriter } from './parameters.ts';

/** A kernel's variant on the device. */
export interface CompiledKernel {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: BindLayout;
  /** Names of the storage buffers in order of binding, from 1. */
  readonly buffers: readonly string[];
  readonly writeParams: ParameterWriter;
}

/** Buffers of a dispatch by their names in the kernel. */
type Buffers = Readonly<Record<string, DeviceBuffer>>;

interface BindLayout {
  readonly id: number;
  readonly group: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

const MAX_BIND_GROUPS = 8192;

/** Compiles each kernel once, and keeps the bind groups that steps repeat. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #uniforms: GPUBuffer;
  readonly #traits: DeviceTraits;
  readonly #kernels = new Map<string, CompiledKernel>();
  readonly #layouts = new Map<string, BindLayout>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();

  constructor(device: GPUDevice, faults: Faults, uniforms: GPUBuffer, traits: DeviceTraits) {
    this.#device = device;
    this.#faults = faults;
    this.#uniforms = uniforms;
    this.#traits = traits;
  }

  get size(): number {
    return this.#kernels.size;
  }

  /** A variant of a kernel, compiled at its first use. */
  get<V extends object>(op: string, kernel: Kernel<V>, variant: V): CompiledKernel {
    const key = keyOf(kernel.name, variant);
    const known = this.#kernels.get(key);
    if (known !== undefined) return known;
    const compiled = this.#compile(op, key, kernel, variant);
    this.#kernels.set(key, compiled);
    return compiled;
  }

  bindGroup(kernel: CompiledKernel, buffers: Buffers): GPUBindGroup {
    let key = `${kernel.layout.id}`;
    for (const name of kernel.buffers) key += `,${buffers[name].id}`;
    const known = this.#bindGroups.get(key);
    if (known !== undefined) return known;
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: this.#uniforms, offset: 0, size: PARAMETER_BYTES } },
    ];
    for (const [i, name] of kernel.buffers.entries()) {
      entries.push({ binding: i + 1, resource: { buffer: buffers[name].gpu } });
    }
    const group = this.#faults.watch(kernel.label, () =>
      this.#device.createBindGroup({ label: kernel.label, layout: kernel.layout.group, entries }),
    );
    if (this.#bindGroups.size >= MAX_BIND_GROUPS) this.#bindGroups.clear();
    this.#bindGroups.set(key, group);
    return group;
  }

  /** Bind groups keep buffers alive; dropped when buffers are destroyed. */
  forgetBindGroups(): void {
    this.#bindGroups.clear();
  }

  #compile<V extends object>(op: string, key: string, kernel: Kernel<V>, variant: V): CompiledKernel {
    const { buffers } = kernel.text(variant);
    const layout = this.#layout(buffers);
    const pipeline = this.#faults.watch(
      op,
      () => {
        const module = this.#device.createShaderModule({ label: key, code: wgslModule(kernel, variant, this.#traits) });
        return this.#device.createComputePipeline({ label: key, layout: layout.pipeline, compute: { module } });
      },
      undefined,
      (message) => {
        // Not kept, so that the next use says the same and not that a pipeline is invalid.
        this.#kernels.delete(key);
        return new UnsupportedError(
          `${op}: the shader '${key}' does not compile on this driver. Update the graphics driver, or choose another ` +
            `adapter or backend. The driver says: ${message}`,
        );
      },
    );
    return { label: key, pipeline, layout, buffers: Object.keys(buffers), writeParams: parameterWriter(kernel.params) };
  }

  #layout(buffers: KernelText['buffers']): BindLayout {
    const bindings = Object.values(buffers);
    const signature = bindings.map(({ access }) => (access === 'read' ? 'r' : 'w')).join('');
    const known = this.#layouts.get(signature);
    if (known !== undefined) return known;
    const COMPUTE = 0x4;
    const group = this.#device.createBindGroupLayout({
      label: signature,
      entries: [
        {
          binding: 0,
          visibility: COMPUTE,
          buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: PARAMETER_BYTES },
        },
        ...bindings.map(({ access }, i) => ({
          binding: i + 1,
          visibility: COMPUTE,
          buffer: { type: access === 'read' ? ('read-only-storage' as const) : ('storage' as const) },
        })),
      ],
    });
    const layout: BindLayout = {
      id: this.#layouts.size,
      group,
      pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }),
    };
    this.#layouts.set(signature, layout);
    return layout;
  }
}
