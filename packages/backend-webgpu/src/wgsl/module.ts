import { type Reduction, reductionDeclarations } from './reduction.ts';
import { format } from './text.ts';

/** Storage element types that kernels read and write. */
export type ElementType =
  | 'f32'
  | 'f16'
  | 'u32'
  | 'i32'
  | 'vec2<f32>'
  | 'vec2<u32>'
  | 'vec4<f32>'
  | 'vec4<f16>'
  | 'vec4<u32>';

export interface StorageBinding {
  readonly name: string;
  readonly type: ElementType;
  readonly access: 'read' | 'read_write';
}

/** A compute kernel before it is text: what it binds, its parameters, and its code. */
export interface KernelSource {
  /** In order of binding, from 1; binding 0 holds the parameters. At most 8, the least that WebGPU guarantees. */
  readonly buffers: readonly StorageBinding[];
  /** Read as `params.name`. At most 32. */
  readonly params: readonly (readonly [name: string, type: 'u32' | 'f32'])[];
  /** Invocations; 'row' for kernels with a workgroup per row, whose text sees `rowThreads`. */
  readonly workgroupSize: number | 'row';
  /** Reductions over the workgroup that the body calls. */
  readonly reductions?: readonly Reduction[];
  /** Module-scope code: workgroup variables, helper functions. */
  readonly declarations?: string;
  /** Body of main, which sees `group` (workgroup id), `groups` (their number) and `lane` (index in the workgroup). */
  readonly body: string;
}

export const read = (name: string, type: ElementType): StorageBinding => ({ name, type, access: 'read' });
export const write = (name: string, type: ElementType): StorageBinding => ({ name, type, access: 'read_write' });

/** What the text of any kernel depends on besides its own variants. */
export interface DeviceTraits {
  readonly subgroups: boolean;
  readonly software: boolean;
}

/**
 * Invocations per row. On llvmpipe 8, one vector of the processor: a barrier then has nobody to wait for (5 norms of 1024 rows
 * of 128: 5 ms of CPU, with 64 invocations 27; attention's softmax 16 and 66).
 */
const rowThreads = ({ software }: DeviceTraits): number => (software ? 8 : 64);

/** The text of a kernel, with subgroup operations where it gains by them and the device has them. */
export function wgslModule(source: KernelSource, traits: DeviceTraits): string {
  const { reductions = [] } = source;
  const byRow = source.workgroupSize === 'row';
  const threads = source.workgroupSize === 'row' ? rowThreads(traits) : source.workgroupSize;
  const usesF16 = source.buffers.some(({ type }) => type.includes('f16'));
  const parts = [
    ...(usesF16 ? ['enable f16;'] : []),
    ...(traits.subgroups && reductions.length > 0 ? ['enable subgroups;'] : []),
    // WGSL pads a uniform struct to 16 bytes by itself; the binding is always large enough.
    `struct Params {\n${source.params.map(([name, type]) => `  ${name}: ${type},`).join('\n')}\n}`,
    '@group(0) @binding(0) var<uniform> params: Params;',
    ...source.buffers.map(
      ({ name, type, access }, i) => `@group(0) @binding(${i + 1}) var<storage, ${access}> ${name}: array<${type}>;`,
    ),
    ...(byRow ? [`const rowThreads = ${threads}u;`] : []),
    ...reductions.map((reduction) => reductionDeclarations(reduction, threads, traits.subgroups).trim()),
    ...(source.declarations ? [source.declarations.trim()] : []),
    [
      `@compute @workgroup_size(${threads})`,
      'fn main(',
      '  @builtin(workgroup_id) group: vec3<u32>,',
      '  @builtin(num_workgroups) groups: vec3<u32>,',
      '  @builtin(local_invocation_index) lane: u32,',
      ') {',
      source.body.trim(),
      '}',
    ].join('\n'),
  ];
  return format(parts.join('\n'));
}
