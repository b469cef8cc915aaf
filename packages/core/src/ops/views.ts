import { type BroadcastView, MAX_VIEW_AXES, type RearrangeView, type ReduceView } from '../contract/primitives.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { checkInteger, elementCount, formatShape, type Shape, sameShape } from '../shape.ts';

/** One step through memory per axis, in elements, for a dense tensor of this shape. */
function denseStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/** Strides that read a tensor of `from` as one of `to`: sizes are aligned at the last axis, and a size of 1 is repeated. */
function broadcastStrides(from: Shape, to: Shape): number[] {
  const dense = denseStrides(from);
  const lead = to.length - from.length;
  return to.map((_, axis) => (axis < lead || from[axis - lead] === 1 ? 0 : dense[axis - lead]));
}

/**
 * Leaves axes of size 1 out and joins neighbours that every operand walks in one stride, so that a kernel sees as few
 * axes as there are. `strides` has one list per operand.
 */
function mergeAxes(op: string, shape: Shape, strides: readonly Shape[]): { sizes: number[]; strides: number[][] } {
  const sizes: number[] = [];
  const merged: number[][] = strides.map(() => []);
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis];
    if (size === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && strides.every((of, i) => merged[i][last] === of[axis] * size)) {
      sizes[last] *= size;
      for (const [i, of] of strides.entries()) merged[i][last] = of[axis];
    } else {
      sizes.push(size);
      for (const [i, of] of strides.entries()) merged[i].push(of[axis]);
    }
  }
  if (sizes.length > MAX_VIEW_AXES) {
    throw new ShapeError(
      `${op}: ${formatShape(shape)} has ${sizes.length} axes that cannot be joined; expected at most ${MAX_VIEW_AXES}; reshape first`,
    );
  }
  if (sizes.length > 0) return { sizes, strides: merged };
  return { sizes: [1], strides: strides.map(() => [0]) };
}

/** The shape that both are broadcast to, and where its entries come from. */
export function planBroadcast(op: string, a: Shape, b: Shape): BroadcastView {
  if (sameShape(a, b)) {
    return { shape: a, sizes: [elementCount(a)], stridesA: [1], stridesB: [1] };
  }
  const length = Math.max(a.length, b.length);
  const shape = Array.from({ length }, (_, axis) => {
    const [sizeA, sizeB] = [a[axis - length + a.length] ?? 1, b[axis - length + b.length] ?? 1];
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) {
      throw new ShapeError(
        `${op}: a has shape ${formatShape(a)} and b ${formatShape(b)}; aligned at the last axis, sizes must be equal or 1`,
      );
    }
    return Math.max(sizeA, sizeB);
  });
  const { sizes, strides } = mergeAxes(op, shape, [broadcastStrides(a, shape), broadcastStrides(b, shape)]);
  return { shape, sizes, stridesA: strides[0], stridesB: strides[1] };
}

/** Repeats a tensor of `from` over `shape`. */
export function planRepeat(op: string, from: Shape, shape: Shape): RearrangeView {
  const lead = shape.length - from.length;
  const fits = lead >= 0 && from.every((size, axis) => size === 1 || size === shape[lead + axis]);
  if (!fits) {
    throw new ShapeError(
      `${op}: x has shape ${formatShape(from)}; it cannot be repeated over ${formatShape(shape)}: aligned at the last axis, its sizes must be equal or 1`,
    );
  }
  const { sizes, strides } = mergeAxes(op, shape, [broadcastStrides(from, shape)]);
  return { shape, sizes, strides: strides[0] };
}

/** Axis i of the result is axis `axes[i]` of a tensor of `from`. */
export function planPermute(op: string, from: Shape, axes: readonly number[]): RearrangeView {
  const resolved = resolveAxes(op, from, axes);
  if (resolved.length !== from.length) {
    throw new ValueError(
      `${op}: axes is ${formatShape(axes)}; expected each of the ${from.length} axes of ${formatShape(from)} once`,
    );
  }
  const dense = denseStrides(from);
  const shape = resolved.map((axis) => from[axis]);
  const { sizes, strides } = mergeAxes(op, shape, [resolved.map((axis) => dense[axis])]);
  return { shape, sizes, strides: strides[0] };
}

/** Whether the view reads every entry once and in order, so that no copy is needed. */
export function isDense({ sizes, strides }: RearrangeView): boolean {
  return sizes.length === 1 && (strides[0] === 1 || sizes[0] === 1);
}

/** Axes counted from 0, each at most once; negative ones count from the last. */
export function resolveAxes(op: string, shape: Shape, axes: readonly number[]): number[] {
  const resolved = axes.map((axis) => {
    checkInteger(op, 'axes', axis, -shape.length, shape.length - 1);
    return axis < 0 ? axis + shape.length : axis;
  });
  if (new Set(resolved).size < resolved.length) {
    throw new ValueError(
      `${op}: axes is ${formatShape(axes)}; expected each axis of ${formatShape(shape)} at most once`,
    );
  }
  return resolved;
}

/** How to reduce a tensor of `from` over some axes: `first` brings them behind the others where they are not neighbours. */
export interface ReducePlan {
  readonly first: readonly number[] | null;
  readonly view: ReduceView;
  /** The result's shape, without the axes or with size 1 there. */
  readonly shape: Shape;
}

/** `axes` are resolved; at least one, unless the tensor has none. */
export function planReduce(from: Shape, axes: readonly number[], keepDims: boolean): ReducePlan {
  const reduced = new Set(axes);
  const all = from.map((_, axis) => axis);
  const kept = all.filter((axis) => !reduced.has(axis));
  const shape = keepDims ? from.map((size, axis) => (reduced.has(axis) ? 1 : size)) : kept.map((axis) => from[axis]);
  const long = all.filter((axis) => from[axis] > 1);
  const [first, last] = [long.findIndex((axis) => reduced.has(axis)), long.findLastIndex((axis) => reduced.has(axis))];
  const count = (list: readonly number[]) => list.reduce((product, axis) => product * from[axis], 1);
  if (first < 0) return { first: null, view: { outer: count(kept), length: 1, inner: 1 }, shape };
  const between = long.slice(first, last + 1);
  if (between.every((axis) => reduced.has(axis))) {
    const view = { outer: count(long.slice(0, first)), length: count(between), inner: count(long.slice(last + 1)) };
    return { first: null, view, shape };
  }
  const ordered = all.filter((axis) => reduced.has(axis));
  return { first: [...kept, ...ordered], view: { outer: count(kept), length: count(ordered), inner: 1 }, shape };
}

/** `source` rearranged on the host: the values of an index tensor. */
export function rearrangeIndices(source: Int32Array, { sizes, strides }: RearrangeView): Int32Array {
  let entries = Int32Array.of(0);
  for (const [axis, size] of sizes.entries()) {
    const next = new Int32Array(entries.length * size);
    for (let i = 0; i < next.length; i++) next[i] = entries[Math.floor(i / size)] + (i % size) * strides[axis];
    entries = next;
  }
  return entries.map((at) => source[at]);
}
