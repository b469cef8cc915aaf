import type { Reduction } from './reduction.ts';

/** Floating types that operands may have; sums, scores and statistics are f32 beside both. */
export type Scalar = 'f32' | 'f16';

/** Storage element types that kernels read and write. */
export type ElementType = Scalar | 'u32' | 'i32' | 'vec2<f32>' | 'vec2<u32>' | 'vec4<f32>' | 'vec4<f16>' | 'vec4<u32>';

/** A storage buffer as a kernel sees it: an array of `type`. */
export interface Binding {
  readonly type: ElementType;
  readonly access: 'read' | 'read_write';
}

/** A binding that the kernel only reads. */
export const read = (type: ElementType): Binding => ({ type, access: 'read' });
/** A binding that the kernel writes, and may read. */
export const write = (type: ElementType): Binding => ({ type, access: 'read_write' });

/** Parameters by name, in the order of the uniform struct. At most 32. */
export type ParamTypes<P extends string = string> = Readonly<Record<P, 'u32' | 'f32'>>;

/** The text of one variant of a kernel. */
export interface KernelText<B extends string = string> {
  /** In order of binding, from 1; binding 0 holds the parameters. At most 8, the least that WebGPU guarantees. */
  readonly buffers: Readonly<Record<B, Binding>>;
  /** Invocations; 'row' for kernels with a workgroup per row, whose text sees `rowThreads`. */
  readonly workgroupSize: number | 'row';
  /** Reductions over the workgroup that the body calls. */
  readonly reductions?: readonly Reduction[];
  /** Module-scope code: workgroup variables, helper functions. */
  readonly declarations?: string;
  /**
   * Body of main, which sees `params`, the buffers by name, `group` (workgroup id), `groups` (their number) and `lane` (index
   * in the workgroup).
   */
  readonly body: string;
}

/**
 * A compute kernel and its variants. The one definition of `params` gives the WGSL struct and what is written into it; the
 * one variant gives the text and its key in the cache of pipelines.
 */
export interface Kernel<V extends object = object, B extends string = string, P extends string = string> {
  /** What errors and profilers call it. */
  readonly name: string;
  readonly params: ParamTypes<P>;
  text(variant: V): KernelText<B>;
}

/** Infers the names of buffers and parameters, so that a dispatch that forgets one does not compile. */
export const kernel = <V extends object, B extends string, P extends string>(
  definition: Kernel<V, B, P>,
): Kernel<V, B, P> => definition;

/** For kernels with one text. */
export type NoVariant = Record<string, never>;

/** Names one variant: `attention/rows/64x64x8x8/f16`. Fields that are true stand by name, false ones not at all. */
export const keyOf = (name: string, variant: object): string => append(name, '/', variant);

function append(start: string, separator: string, fields: object): string {
  let text = start;
  // A loop, since every dispatch comes through here.
  for (const field in fields) {
    const value: unknown = fields[field as keyof typeof fields];
    if (value === false) continue;
    text += separator + (value === true ? field : typeof value === 'object' ? nested(value as object) : value);
  }
  return text;
}

/** Tiles are few and shared, so each is named once. */
const nestedNames = new WeakMap<object, string>();

function nested(fields: object): string {
  const known = nestedNames.get(fields);
  if (known !== undefined) return known;
  const name = append('', 'x', fields).slice(1);
  nestedNames.set(fields, name);
  return name;
}
