import type { Kernel } from './kernel.ts';
import { reductionDeclarations } from './reduction.ts';
import { format } from './text.ts';

/** What the text of any kernel depends on besides its own variants. */
export interface DeviceTraits {
  readonly subgroups: boolean;
  readonly software: boolean;
}

/** Invocations per row. On llvmpipe 8, one vector of the processor: a barrier then has nobody to wait for. */
const rowThreads = ({ software }: DeviceTraits): number => (software ? 8 : 64);

/** The text of a kernel, with subgroup operations where it gains by them and the device has them. */
export function wgslModule<V extends object>(kernel: Kernel<V>, variant: V, traits: DeviceTraits): string {
  const { buffers, workgroupSize, reductions = [], declarations = '', body } = kernel.text(variant);
  const byRow = workgroupSize === 'row';
  const threads = byRow ? rowThreads(traits) : workgroupSize;
  const usesF16 = Object.values(buffers).some(({ type }) => type.includes('f16'));
  const members = Object.entries(kernel.params).map(([name, type]) => `${name}: ${type},`);
  const bindings = Object.entries(buffers).map(
    ([name, { type, access }], i) => `@group(0) @binding(${i + 1}) var<storage, ${access}> ${name}: array<${type}>;`,
  );
  const parts = [
    usesF16 ? 'enable f16;' : '',
    traits.subgroups && reductions.length > 0 ? 'enable subgroups;' : '',
    // WGSL pads a uniform struct to 16 bytes by itself; the binding is always large enough.
    `struct Params {\n${members.join('\n')}\n}`,
    '@group(0) @binding(0) var<uniform> params: Params;',
    ...bindings,
    byRow ? `const rowThreads = ${threads}u;` : '',
    ...reductions.map((reduction) => reductionDeclarations(reduction, threads, traits.subgroups)),
    declarations,
    `@compute @workgroup_size(${threads})
    fn main(
      @builtin(workgroup_id) group: vec3<u32>,
      @builtin(num_workgroups) groups: vec3<u32>,
      @builtin(local_invocation_index) lane: u32,
    ) {
      ${body}
    }`,
  ];
  return format(parts.join('\n'));
}
