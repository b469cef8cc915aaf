import { checkFloat, checkIds, checkOwned, checkSameDType } from '../checks.ts';
import {
  BINARY_FUNCTIONS,
  type BinaryFunction,
  REDUCE_FUNCTIONS,
  type RearrangeView,
  type ReduceFunction,
  UNARY_FUNCTIONS,
  type UnaryFunction,
} from '../contract/primitives.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import {
  checkFlag,
  checkInteger,
  checkList,
  checkOptions,
  checkShape,
  countBetween,
  describe,
  formatShape,
  type Shape,
} from '../shape.ts';
import { embedding } from './layers.ts';
import { agreeExcept, resolveAxis } from './slices.ts';
import { copyInto, fill, reshape } from './storage.ts';
import { isDense, planBroadcast, planPermute, planReduce, planRepeat, rearrangeIndices, resolveAxes } from './views.ts';

/** Which axes `reduce` takes together, and whether they stay. */
export interface ReduceOptions {
  /** Axes to reduce over, negative ones counted from the last. Default: all. */
  readonly axes?: readonly number[] | undefined;
  /** Leaves the reduced axes in the shape, with size 1. Default false. */
  readonly keepDims?: boolean | undefined;
}

/**
 * The open primitives: enough to compose an op of one's own. What each function computes, at its edges too, is in
 * `UNARY_FUNCTIONS`, `BINARY_FUNCTIONS` and `REDUCE_FUNCTIONS`.
 *
 * "Broadcast" is NumPy's: shapes are aligned at the last axis, and a size of 1, or an axis that is not there, is repeated.
 */
export interface PrimitiveOps {
  /** fn(x), element by element: x's shape and type. @throws ValueError for an unknown function; DTypeError for i32 */
  unary(fn: UnaryFunction, x: Tensor): Tensor;
  /** fn(a, b), element by element, broadcast; a and b have one floating type. Comparisons give 1 and 0 in that type. */
  binary(fn: BinaryFunction, a: Tensor, b: Tensor): Tensor;
  /**
   * x reduced over `axes`, in x's type; sums are taken in f32 or better. `argmax` gives i32: the place among the reduced
   * axes, counted row by row where there are several. To use it as an index, read it and make a tensor of it.
   */
  reduce(fn: ReduceFunction, x: Tensor, options?: ReduceOptions): Tensor;
  /** Axis i of the result is axis `axes[i]` of x; each axis of x once. Any type. May share x's memory. */
  permute(x: Tensor, axes: readonly number[]): Tensor;
  /** x repeated over `shape`, broadcast. Any type. May share x's memory. */
  broadcast(x: Tensor, shape: Shape): Tensor;
  /** a where `mask` is not 0, else b; what is not taken does not matter, NaN or not. All broadcast, of one floating type. */
  where(mask: Tensor, a: Tensor, b: Tensor): Tensor;
  /** The tensors one behind the other along `axis`; their other sizes, and their types, agree. */
  concat(tensors: readonly Tensor[], axis: number): Tensor;
  /** x with `before` and `after` more entries along `axis`, each `value` (default 0). */
  pad(x: Tensor, axis: number, before: number, after: number, value?: number): Tensor;
  /**
   * Entries of a floating x along `axis` at `indices` (i32, any shape, from 0 to the axis' size - 1):
   * [...sizes before, ...indices.shape, ...sizes behind].
   */
  gather(x: Tensor, indices: Tensor, axis: number): Tensor;
}

/** fn(x). */
export function unary(store: TensorStore, fn: UnaryFunction, x: Tensor): Tensor {
  checkFunction('unary', UNARY_FUNCTIONS, fn);
  checkFloat(store, 'unary', ['x'], [x]);
  return store.wrap(store.kernels.unary(kernelTensor(x), fn), x.shape, x.dtype);
}

/** fn(a, b), broadcast. */
export function binary(store: TensorStore, fn: BinaryFunction, a: Tensor, b: Tensor): Tensor {
  checkFunction('binary', BINARY_FUNCTIONS, fn);
  checkFloat(store, 'binary', ['a', 'b'], [a, b]);
  const view = planBroadcast('binary', a.shape, b.shape);
  checkShape('binary', view.shape);
  return store.wrap(store.kernels.binary(kernelTensor(a), kernelTensor(b), fn, view), view.shape, a.dtype);
}

/** x reduced over `axes`. */
export function reduce(store: TensorStore, fn: ReduceFunction, x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOptions('reduce', options, ['axes', 'keepDims']);
  checkFunction('reduce', REDUCE_FUNCTIONS, fn);
  checkFloat(store, 'reduce', ['x'], [x]);
  const { axes = x.shape.map((_, axis) => axis), keepDims = false } = options;
  checkFlag('reduce', 'keepDims', keepDims);
  const resolved = resolveAxes('reduce', x.shape, checkList('reduce', 'axes', axes));
  if (resolved.length === 0 && x.shape.length > 0)
    throw new ValueError('reduce: axes is []; expected at least one axis');
  const { first, view, shape } = planReduce(x.shape, resolved, keepDims);
  const { kernels } = store;
  const dtype = fn === 'argmax' ? 'i32' : x.dtype;
  if (first === null) return store.wrap(kernels.reduce(kernelTensor(x), fn, view, dtype), shape, dtype);
  const ordered = permute(store, x, first);
  try {
    return store.wrap(kernels.reduce(kernelTensor(ordered), fn, view, dtype), shape, dtype);
  } finally {
    ordered.dispose();
  }
}

/** Axis i of the result is axis `axes[i]` of x. */
export function permute(store: TensorStore, x: Tensor, axes: readonly number[]): Tensor {
  checkOwned(store, 'permute', 'x', x);
  return rearrange(store, x, planPermute('permute', x.shape, checkList('permute', 'axes', axes)));
}

/** x repeated over `shape`. */
export function broadcast(store: TensorStore, x: Tensor, shape: Shape): Tensor {
  checkOwned(store, 'broadcast', 'x', x);
  return rearrange(store, x, planRepeat('broadcast', x.shape, checkShape('broadcast', shape)));
}

function rearrange(store: TensorStore, x: Tensor, view: RearrangeView): Tensor {
  if (isDense(view)) return store.view(x.storage, view.shape, x.dtype);
  const { indices } = x.storage;
  const known = indices === null ? null : rearrangeIndices(indices, view);
  return store.wrap(store.kernels.rearrange(kernelTensor(x), view), view.shape, x.dtype, known);
}

/** a where `mask` is not 0, else b: keep(mask, a) + keep(mask = 0, b), of which one is exactly 0. */
export function where(store: TensorStore, mask: Tensor, a: Tensor, b: Tensor): Tensor {
  checkFloat(store, 'where', ['mask', 'a', 'b'], [mask, a, b]);
  return store.scope(() => {
    const zero = fill(store, 'where', [], 0, mask.dtype);
    const kept = binary(store, 'keep', mask, a);
    return binary(store, 'add', kept, binary(store, 'keep', binary(store, 'equal', mask, zero), b));
  });
}

/** The tensors one behind the other along `axis`. */
export function concat(store: TensorStore, tensors: readonly Tensor[], axis: number): Tensor {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw new ValueError(`concat: tensors is ${describe(tensors)} without entries; expected at least one tensor`);
  }
  const pieces = Array.from(tensors);
  for (const [i, x] of pieces.entries()) checkOwned(store, 'concat', `tensors[${i}]`, x);
  const [head] = pieces;
  const resolved = resolveAxis('concat', head.shape, axis);
  for (const [i, x] of pieces.entries()) {
    checkSameDType('concat', `tensors[${i}]`, x, 'tensors[0]', head);
    if (!agreeExcept(head.shape, x.shape, resolved)) {
      throw new ShapeError(
        `concat: tensors[${i}] has shape ${formatShape(x.shape)}; expected that of tensors[0], ${formatShape(head.shape)}, on all axes but ${resolved}`,
      );
    }
  }
  const length = pieces.reduce((sum, x) => sum + x.shape[resolved], 0);
  return assemble(store, 'concat', head, resolved, length, 0, 0, pieces);
}

/** x with more entries before and after it. */
export function pad(store: TensorStore, x: Tensor, axis: number, before: number, after: number, value = 0): Tensor {
  checkOwned(store, 'pad', 'x', x);
  const resolved = resolveAxis('pad', x.shape, axis);
  checkInteger('pad', 'before', before, 0, 2 ** 31 - 1);
  checkInteger('pad', 'after', after, 0, 2 ** 31 - 1);
  const length = before + x.shape[resolved] + after;
  return assemble(store, 'pad', x, resolved, length, before, value, [x]);
}

/** `pieces` from `offset` on along an axis of `length` entries; `value` fills the rest. Other sizes and type are those of `like`. */
function assemble(
  store: TensorStore,
  op: string,
  like: Tensor,
  axis: number,
  length: number,
  offset: number,
  value: number,
  pieces: readonly Tensor[],
): Tensor {
  const shape = like.shape.with(axis, length);
  checkShape(op, shape);
  return store.scope(() => {
    const out = fill(store, op, shape, value, like.dtype);
    let at = offset;
    for (const piece of pieces) {
      copyInto(store, out, piece, axis, at);
      at += piece.shape[axis];
    }
    return out;
  });
}

/** Entries of x along `axis` at `indices`, by way of `embedding`: x with the axis in front is a table of rows. */
export function gather(store: TensorStore, x: Tensor, indices: Tensor, axis: number): Tensor {
  checkFloat(store, 'gather', ['x'], [x]);
  const { shape } = x;
  const resolved = resolveAxis('gather', shape, axis);
  checkIds(store, 'gather', 'indices', indices, shape[resolved]);
  const [outer, length, inner] = [
    countBetween(shape, 0, resolved),
    shape[resolved],
    countBetween(shape, resolved + 1, shape.length),
  ];
  const result = [...shape.slice(0, resolved), ...indices.shape, ...shape.slice(resolved + 1)];
  checkShape('gather', result);
  return store.scope(() => {
    const front = permute(store, reshape(store, x, [outer, length, inner]), [1, 0, 2]);
    const table = reshape(store, front, [length, outer * inner]);
    const rows = reshape(store, embedding(store, table, indices), [indices.size, outer, inner]);
    return reshape(store, permute(store, rows, [1, 0, 2]), result);
  });
}

function checkFunction(op: string, known: readonly string[], fn: string): void {
  if (!known.includes(fn)) throw new ValueError(`${op}: fn is ${describe(fn)}; expected one of ${known.join(', ')}`);
}
