import {
  type BroadcastView,
  type DType,
  elementCount,
  type Kernels,
  type ReduceFunction,
  type ReduceView,
} from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { type Access, axisValues, binary, binaryView, rearrange, unary } from '../wgsl/primitives.ts';
import { reduceColumns, reduceRows } from '../wgsl/reduce.ts';
import { allocate, elementGrid, type GpuTensor, linearGrid, runPointwise, scalarOf, withScratch } from './shared.ts';
import { totalOf } from './sums.ts';

type PrimitiveKernels = Pick<Kernels<DeviceBuffer>, 'unary' | 'binary' | 'reduce' | 'rearrange'>;

/** How operands with these strides are read four at a time, where the view allows that for all of them. */
function accessOf(sizes: readonly number[], operands: readonly (readonly number[])[]): Access[] {
  const last = sizes.length - 1;
  const access = operands.map((strides): Access => {
    if (strides[last] === 0) return 'splat';
    const aligned = strides[last] === 1 && strides.slice(0, last).every((stride) => stride % 4 === 0);
    return aligned ? 'vector' : 'gather';
  });
  const together = sizes[last] % 4 === 0 && !access.includes('gather');
  return together ? access : access.map(() => 'gather');
}

/** The view's sizes and strides in what the operand is read by: vec4s along the last axis, or elements. */
function groupedSizes(sizes: readonly number[], access: Access): number[] {
  const last = sizes.length - 1;
  return access === 'gather' ? [...sizes] : sizes.map((size, axis) => (axis === last ? size / 4 : size));
}
function groupedStrides(strides: readonly number[], access: Access): number[] {
  const last = strides.length - 1;
  return access === 'vector' ? strides.map((stride, axis) => (axis === last ? 1 : stride / 4)) : [...strides];
}

/** Invocations that fill a GPU, and entries that are worth one. A function of the sizes alone, so that sums repeat. */
const [ENOUGH, LEAST_ENTRIES] = [4096, 64];

/** In how many parts the axis is reduced first, where there are few results. The place of an entry is lost by that. */
function splitsOf(fn: ReduceFunction, { outer, length, inner }: ReduceView): number {
  if (fn === 'argmax') return 1;
  const threads = outer * inner * (inner === 1 ? LEAST_ENTRIES : 1);
  return Math.max(
    1,
    Math.min(Math.ceil(ENOUGH / threads), Math.floor(length / LEAST_ENTRIES / (inner === 1 ? 64 : 1))),
  );
}

function reduceOnce(
  rt: Runtime,
  x: { readonly buffer: DeviceBuffer; readonly dtype: DType },
  fn: ReduceFunction,
  { outer, length, inner }: ReduceView,
  splits: number,
  divisor: number,
  out: { readonly buffer: DeviceBuffer; readonly dtype: DType },
): void {
  const results = outer * splits * inner;
  const to = out.dtype === 'i32' ? 'i32' : scalarOf(out.dtype);
  rt.run(
    inner === 1 ? reduceRows : reduceColumns,
    { fn, type: scalarOf(x.dtype), to },
    {
      buffers: { x: x.buffer, out: out.buffer },
      params: { results, length, inner, splits, perSplit: Math.ceil(length / splits), divisor },
      grid: inner === 1 ? linearGrid(results) : elementGrid(results),
    },
  );
}

function reduce(rt: Runtime, x: GpuTensor, fn: ReduceFunction, view: ReduceView, dtype: DType): DeviceBuffer {
  const { outer, length, inner } = view;
  if ((fn === 'sum' || fn === 'mean') && outer * inner === 1 && dtype === 'f32') {
    return totalOf(rt, [x], false, fn === 'mean' ? 1 / length : 1);
  }
  const out = { buffer: allocate(rt, [outer * inner], dtype), dtype };
  const splits = splitsOf(fn, view);
  if (splits === 1) {
    reduceOnce(rt, x, fn, view, 1, length, out);
    return out.buffer;
  }
  // Maxima of maxima, and so on; the parts of a mean are sums.
  withScratch(rt, [outer * splits * inner], (parts) => {
    const partial = { buffer: parts, dtype: 'f32' } as const;
    reduceOnce(rt, x, fn === 'mean' ? 'sum' : fn, view, splits, 1, partial);
    reduceOnce(rt, partial, fn, { outer, length: splits, inner }, 1, length, out);
  });
  return out.buffer;
}

function broadcastBinary(
  rt: Runtime,
  a: GpuTensor,
  b: GpuTensor,
  fn: Parameters<PrimitiveKernels['binary']>[2],
  view: BroadcastView,
): DeviceBuffer {
  const { shape, sizes, stridesA, stridesB } = view;
  const elements = elementCount(shape);
  const out = allocate(rt, shape, a.dtype);
  const type = scalarOf(a.dtype);
  const buffers = { left: a.buffer, right: b.buffer, out };
  if (sizes.length === 1) {
    const oneAxis = ([stride]: readonly number[]) => (stride === 0 ? 'splat' : 'vector');
    runPointwise(rt, binary, { fn, type, a: oneAxis(stridesA), b: oneAxis(stridesB) }, buffers, elements);
    return out;
  }
  const [forA, forB] = accessOf(sizes, [stridesA, stridesB]);
  const variant = { fn, type, a: forA, b: forB, axes: sizes.length };
  runPointwise(rt, binaryView, variant, buffers, elements, {
    elements,
    ...axisValues('size', groupedSizes(sizes, forA)),
    ...axisValues('a', groupedStrides(stridesA, forA)),
    ...axisValues('b', groupedStrides(stridesB, forB)),
  });
  return out;
}

/** The four open primitives. */
export function primitiveKernels(rt: Runtime): PrimitiveKernels {
  return {
    unary(x, fn) {
      const out = allocate(rt, x.shape, x.dtype);
      const variant = { fn, type: scalarOf(x.dtype) };
      runPointwise(rt, unary, variant, { xs: x.buffer, ys: out }, elementCount(x.shape));
      return out;
    },

    binary: (a, b, fn, view) => broadcastBinary(rt, a, b, fn, view),

    reduce: (x, fn, view, dtype) => reduce(rt, x, fn, view, dtype),

    rearrange(x, { shape, sizes, strides }) {
      const elements = elementCount(shape);
      const out = allocate(rt, shape, x.dtype);
      const [access] = accessOf(sizes, [strides]);
      const variant = { type: x.dtype === 'f16' ? 'f16' : 'u32', x: access, axes: sizes.length } as const;
      runPointwise(rt, rearrange, variant, { xs: x.buffer, out }, elements, {
        elements,
        ...axisValues('size', groupedSizes(sizes, access)),
        ...axisValues('x', groupedStrides(strides, access)),
      });
      return out;
    },
  };
}
