import type { SliceView } from '../contract/kernels.ts';
import { ShapeError } from '../errors.ts';
import { agreeBetween, checkInteger, countBetween, formatShape, type Shape } from '../shape.ts';

/** `axis` counted from 0. */
export function resolveAxis(op: string, shape: Shape, axis: number): number {
  if (shape.length === 0) throw new ShapeError(`${op}: a tensor of shape [] has no axis to take entries of`);
  checkInteger(op, 'axis', axis, -shape.length, shape.length - 1);
  return axis < 0 ? axis + shape.length : axis;
}

/** The [outer, length, inner] view of `shape` around a resolved axis, with the entries start..start + count - 1. */
export function planSlice(op: string, shape: Shape, axis: number, start: number, count: number): SliceView {
  const length = shape[axis];
  checkInteger(op, 'start', start, 0, length - 1);
  if (!Number.isInteger(count) || count < 1 || start + count > length) {
    throw new ShapeError(
      `${op}: ${count} entries from ${start} of axis ${axis} are not in shape ${formatShape(shape)}; expected 1 to ${length - start}`,
    );
  }
  return {
    outer: countBetween(shape, 0, axis),
    length,
    inner: countBetween(shape, axis + 1, shape.length),
    start,
    count,
  };
}

/** `shape` with another size on one axis. */
export function replaceAxis(shape: Shape, axis: number, size: number): number[] {
  return shape.map((old, i) => (i === axis ? size : old));
}

/** Whether both have the same sizes on all axes but this one. */
export function agreeExcept(a: Shape, b: Shape, axis: number): boolean {
  return a.length === b.length && agreeBetween(a, b, 0, axis) && agreeBetween(a, b, axis + 1, a.length);
}

/** What `slice` and `copyInto` do to the host's copy of an index tensor. */
export function sliceIndices(source: Int32Array, view: SliceView): Int32Array {
  const run = view.count * view.inner;
  const result = new Int32Array(view.outer * run);
  for (let o = 0; o < view.outer; o++) {
    const from = (o * view.length + view.start) * view.inner;
    result.set(source.subarray(from, from + run), o * run);
  }
  return result;
}

/** As `sliceIndices`, the other way. */
export function copyIndices(target: Int32Array, source: Int32Array, view: SliceView): void {
  const run = view.count * view.inner;
  for (let o = 0; o < view.outer; o++) {
    target.set(source.subarray(o * run, (o + 1) * run), (o * view.length + view.start) * view.inner);
  }
}
