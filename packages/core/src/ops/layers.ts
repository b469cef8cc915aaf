import { checkElementwise, checkFloat, checkFourAxes, checkIds, checkShapeIs, checkWeight } from '../checks.ts';
import { computedDType, isPacked } from '../dtype.ts';
import { ShapeError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import { Tensor } from '../lifetimes/tensor.ts';
import { checkInteger, checkOptions, checkPositive, checkShape, formatShape } from '../shape.ts';
import { rows } from './rows.ts';

/** Of `rmsNorm`. */
export interface RmsNormOptions {
  /** Added to the mean square; default 1e-6. */
  readonly epsilon?: number;
}

/** Of `rope`. */
export interface RopeOptions {
  /** Default 10000. */
  readonly base?: number;
  /** Position of row 0, default 0. */
  readonly offset?: number;
}

/** What a Transformer is made of, besides attention. */
export interface LayerOps {
  /** x [..., C] / sqrt(mean(x^2) + epsilon) * weight [C]. epsilon defaults to 1e-6. */
  rmsNorm(x: Tensor, weight: Tensor, options?: RmsNormOptions): Tensor;
  /** spec §RoPE on x [B, L, H, D]; row r has position offset + r. */
  rope(x: Tensor, options?: RopeOptions): Tensor;
  /** gate * sigmoid(gate) * up, same shape. */
  swiglu(gate: Tensor, up: Tensor): Tensor;
  /** Rows of weight [V, C] at ids (i32 that the host knows, any shape, all in [0, V)): [...ids.shape, C]. */
  embedding(weight: Tensor, ids: Tensor): Tensor;
}

/** Gradients of `LayerOps`; options as the ops took them. */
export interface LayerGradOps {
  /** Like x and weight. */
  rmsNormGrad(dy: Tensor, x: Tensor, weight: Tensor, options?: RmsNormOptions): { dx: Tensor; dweight: Tensor };
  /** The rotation by the negative angle. */
  ropeGrad(dy: Tensor, options?: RopeOptions): Tensor;
  /** Like gate and up. */
  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor };
  /** `vocabulary` is V of the weight. */
  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor;
}

/** As `LayerOps.rmsNorm`. */
export function rmsNorm(store: TensorStore, x: Tensor, weight: Tensor, options: RmsNormOptions = {}): Tensor {
  checkOptions('rmsNorm', options, ['epsilon']);
  checkFloat(store, 'rmsNorm', ['x', 'weight'], [x, weight]);
  const epsilon = checkRmsNorm('rmsNorm', x, weight, options);
  return store.wrap(store.kernels.rmsNorm(rows(x), kernelTensor(weight), epsilon), x.shape, x.dtype);
}

/** As `LayerGradOps.rmsNormGrad`. */
export function rmsNormGrad(
  store: TensorStore,
  dy: Tensor,
  x: Tensor,
  weight: Tensor,
  options: RmsNormOptions = {},
): { dx: Tensor; dweight: Tensor } {
  checkOptions('rmsNormGrad', options, ['epsilon']);
  checkFloat(store, 'rmsNormGrad', ['dy', 'x', 'weight'], [dy, x, weight]);
  const epsilon = checkRmsNorm('rmsNormGrad', x, weight, options);
  checkShapeIs('rmsNormGrad', 'dy', dy, x.shape);
  const { dx, dweight } = store.kernels.rmsNormGrad(rows(dy), rows(x), kernelTensor(weight), epsilon);
  return { dx: store.wrap(dx, x.shape, x.dtype), dweight: store.wrap(dweight, weight.shape, weight.dtype) };
}

function checkRmsNorm(op: string, x: Tensor, weight: Tensor, options: RmsNormOptions): number {
  if (x.shape.length === 0) throw new ShapeError(`${op}: x has shape []; expected [..., C]`);
  checkShapeIs(op, 'weight', weight, [x.shape[x.shape.length - 1]]);
  const epsilon = options.epsilon ?? 1e-6;
  checkPositive(op, 'epsilon', epsilon);
  return epsilon;
}

/** As `LayerOps.rope`, or `ropeGrad`: rotations are orthogonal, so the gradient is the inverse. */
export function rotate(
  store: TensorStore,
  op: 'rope' | 'ropeGrad',
  x: Tensor,
  options: RopeOptions = {},
  inverse: boolean = op === 'ropeGrad',
): Tensor {
  checkOptions(op, options, ['base', 'offset']);
  checkFloat(store, op, ['x'], [x]);
  checkFourAxes(op, 'x', x.shape, '[B, L, H, D]');
  const headDim = x.shape[3];
  if (headDim % 2 !== 0) {
    throw new ShapeError(`${op}: x has shape ${formatShape(x.shape)}; head size (${headDim}) must be even`);
  }
  const { base = 10000, offset = 0 } = options;
  checkPositive(op, 'base', base);
  checkInteger(op, 'offset', offset, 0, 2 ** 31 - 1);
  return store.wrap(store.kernels.rope(kernelTensor(x), { base, offset, inverse }), x.shape, x.dtype);
}

/** As `LayerOps.swiglu`. */
export function swiglu(store: TensorStore, gate: Tensor, up: Tensor): Tensor {
  checkElementwise(store, 'swiglu', ['gate', 'up'], [gate, up]);
  return store.wrap(store.kernels.swiglu(kernelTensor(gate), kernelTensor(up)), gate.shape, gate.dtype);
}

/** As `LayerGradOps.swigluGrad`. */
export function swigluGrad(store: TensorStore, dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor } {
  checkElementwise(store, 'swigluGrad', ['dy', 'gate', 'up'], [dy, gate, up]);
  const { dgate, dup } = store.kernels.swigluGrad(kernelTensor(dy), kernelTensor(gate), kernelTensor(up));
  return { dgate: store.wrap(dgate, gate.shape, gate.dtype), dup: store.wrap(dup, up.shape, up.dtype) };
}

/** As `LayerOps.embedding`. */
export function embedding(store: TensorStore, weight: Tensor, ids: Tensor): Tensor {
  if (Tensor.is(weight) && isPacked(weight.dtype)) checkWeight(store, 'embedding', 'weight', weight, 'f32');
  else checkFloat(store, 'embedding', ['weight'], [weight]);
  if (weight.shape.length !== 2) {
    throw new ShapeError(`embedding: weight has shape ${formatShape(weight.shape)}; expected [V, C]`);
  }
  checkIds(store, 'embedding', 'ids', ids, weight.shape[0]);
  const shape = checkShape('embedding', [...ids.shape, weight.shape[1]]);
  return store.wrap(
    store.kernels.embedding(kernelTensor(weight), kernelTensor(ids)),
    shape,
    computedDType(weight.dtype),
  );
}

/** As `LayerGradOps.embeddingGrad`. */
export function embeddingGrad(store: TensorStore, dy: Tensor, ids: Tensor, vocabulary: number): Tensor {
  checkFloat(store, 'embeddingGrad', ['dy'], [dy]);
  checkInteger('embeddingGrad', 'vocabulary', vocabulary, 1, 2 ** 31 - 1);
  checkIds(store, 'embeddingGrad', 'ids', ids, vocabulary);
  if (dy.shape.length === 0) throw new ShapeError('embeddingGrad: dy has shape []; expected [...ids.shape, C]');
  const width = dy.shape[dy.shape.length - 1];
  checkShapeIs('embeddingGrad', 'dy', dy, [...ids.shape, width]);
  const shape = checkShape('embeddingGrad', [vocabulary, width]);
  return store.wrap(store.kernels.embeddingGrad(kernelTensor(dy), kernelTensor(ids), vocabulary), shape, dy.dtype);
}
