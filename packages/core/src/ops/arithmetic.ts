import { checkDType, checkElementwise, checkFloat, checkStatisticsScalar } from '../checks.ts';
import type { BinaryFunction } from '../contract/primitives.ts';
import { type DType, statisticsDType } from '../dtype.ts';
import { DTypeError, ValueError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import { checkFinite, checkShape, describe, type Shape } from '../shape.ts';
import { cast, reshape } from './storage.ts';
import { planRepeat } from './views.ts';

/** Sums and products. */
export interface ArithmeticOps {
  /** a + b, of one shape. */
  add(a: Tensor, b: Tensor): Tensor;
  /** a * b element by element, of one shape. */
  mul(a: Tensor, b: Tensor): Tensor;
  /** factor * x, the factor finite. */
  scale(x: Tensor, factor: number): Tensor;
  /** Sum of all elements, shape [], statistics type. */
  sum(x: Tensor): Tensor;
}

/** Gradients of `ArithmeticOps`. */
export interface ArithmeticGradOps {
  /** Both are views of dy. */
  addGrad(dy: Tensor): { da: Tensor; db: Tensor };
  /** dy * b and dy * a. */
  mulGrad(dy: Tensor, a: Tensor, b: Tensor): { da: Tensor; db: Tensor };
  /** factor * dy. */
  scaleGrad(dy: Tensor, factor: number): Tensor;
  /** dy has shape []; the result has `shape`, in a floating type. */
  sumGrad(dy: Tensor, shape: Shape, dtype?: DType): Tensor;
}

/** Norms, which are not differentiated. */
export interface NormOps {
  /** Sum over all tensors and elements of x^2, shape [], statistics type: the square of a global norm. */
  sumSquares(tensors: readonly Tensor[]): Tensor;
}

/** As `ArithmeticOps.add`. */
export function add(store: TensorStore, a: Tensor, b: Tensor): Tensor {
  checkElementwise(store, 'add', ['a', 'b'], [a, b]);
  return combine(store, 'add', a, b);
}

const ALONG: readonly number[] = [1];

/** fn(a, b), of one shape and type. Not by `planBroadcast`: a view made here costs a quarter less of a whole add. */
function combine(store: TensorStore, fn: BinaryFunction, a: Tensor, b: Tensor): Tensor {
  const view = { shape: a.shape, sizes: [a.size], stridesA: ALONG, stridesB: ALONG };
  return store.wrap(store.kernels.binary(kernelTensor(a), kernelTensor(b), fn, view), a.shape, a.dtype);
}

/** As `ArithmeticGradOps.addGrad`. */
export function addGrad(store: TensorStore, dy: Tensor): { da: Tensor; db: Tensor } {
  checkFloat(store, 'addGrad', ['dy'], [dy]);
  return { da: reshape(store, dy, dy.shape), db: reshape(store, dy, dy.shape) };
}

/** As `ArithmeticOps.mul`. */
export function mul(store: TensorStore, a: Tensor, b: Tensor): Tensor {
  checkElementwise(store, 'mul', ['a', 'b'], [a, b]);
  return combine(store, 'mul', a, b);
}

/** As `ArithmeticGradOps.mulGrad`. */
export function mulGrad(store: TensorStore, dy: Tensor, a: Tensor, b: Tensor): { da: Tensor; db: Tensor } {
  checkElementwise(store, 'mulGrad', ['dy', 'a', 'b'], [dy, a, b]);
  return { da: mul(store, dy, b), db: mul(store, dy, a) };
}

/** As `ArithmeticOps.scale`. */
export function scale(store: TensorStore, x: Tensor, factor: number): Tensor {
  checkFloat(store, 'scale', ['x'], [x]);
  checkFinite('scale', 'factor', factor);
  return store.wrap(store.kernels.scale(kernelTensor(x), factor), x.shape, x.dtype);
}

/** As `ArithmeticOps.sum`. */
export function sum(store: TensorStore, x: Tensor): Tensor {
  checkFloat(store, 'sum', ['x'], [x]);
  const dtype = statisticsDType(x.dtype);
  const whole = { outer: 1, length: x.size, inner: 1 };
  return store.wrap(store.kernels.reduce(kernelTensor(x), 'sum', whole, dtype), [], dtype);
}

/** As `ArithmeticGradOps.sumGrad`. */
export function sumGrad(store: TensorStore, dy: Tensor, shape: Shape, dtype: DType): Tensor {
  checkFloat(store, 'sumGrad', ['dy'], [dy]);
  const sizes = checkShape('sumGrad', shape);
  checkDType(store, 'sumGrad', dtype);
  if (dtype === 'i32') throw new DTypeError('sumGrad: dtype is i32; expected a floating type, that of what was summed');
  checkStatisticsScalar('sumGrad', 'dy', dy, dtype);
  const rounded = cast(store, dy, dtype);
  try {
    // Not `broadcast`: the result is never a view of dy.
    const view = planRepeat('sumGrad', dy.shape, sizes);
    return store.wrap(store.kernels.rearrange(kernelTensor(rounded), view), sizes, dtype);
  } finally {
    rounded.dispose();
  }
}

/** As `NormOps.sumSquares`. */
export function sumSquares(store: TensorStore, tensors: readonly Tensor[]): Tensor {
  if (!Array.isArray(tensors)) throw new ValueError(`sumSquares: tensors is ${describe(tensors)}; expected an array`);
  const list = Array.from(tensors);
  if (list.length === 0) throw new ValueError('sumSquares: no tensors; expected at least one');
  checkFloat(
    store,
    'sumSquares',
    list.map((_, i) => `tensors[${i}]`),
    list,
  );
  return store.wrap(store.kernels.sumSquares(list.map(kernelTensor)), [], statisticsDType(list[0].dtype));
}
