import type { Kernels } from './contract/kernels.ts';
import type { BinaryFunction, ReduceFunction, UnaryFunction } from './contract/primitives.ts';
import { createDecoder } from './decoder/decoder.ts';
import type { Decoder } from './decoder/types.ts';
import type { DType, TensorData } from './dtype.ts';
import { TensorStore } from './lifetimes/store.ts';
import type { Tensor } from './lifetimes/tensor.ts';
import * as arithmetic from './ops/arithmetic.ts';
import * as attention from './ops/attention.ts';
import { runCustom } from './ops/custom.ts';
import * as elastic from './ops/elastic-softmax.ts';
import * as layers from './ops/layers.ts';
import * as loss from './ops/loss.ts';
import * as products from './ops/matmul.ts';
import type { CustomOp, PlainOps } from './ops/ops.ts';
import * as optimizer from './ops/optimizer.ts';
import * as primitives from './ops/primitives.ts';
import type { SavedAttention } from './ops/saved.ts';
import * as storage from './ops/storage.ts';
import type { PackedWeights } from './packed.ts';
import type { Shape } from './shape.ts';

declare module './lifetimes/tensor.ts' {
  interface TensorOwner extends Backend {}
}

/**
 * What a user touches: every op on top of a backend's `Kernels`. Made by `createBackend`, or `new Backend(kernels)` for
 * kernels of one's own. Each op's types, checks and launch are in the file of its family, in `ops/`; what it computes is
 * said at `Ops`, `GradOps` and `StorageOps`.
 */
export class Backend extends TensorStore implements PlainOps {
  /** A backend records nothing: that is what the recorder of @lazy-attention/nn is for. */
  readonly records = false;
  /** Fused decoding, where the kernels have it. */
  readonly decoder: Decoder | undefined;

  constructor(kernels: Kernels) {
    super(kernels);
    this.decoder = kernels.decoder === undefined ? undefined : createDecoder(this, kernels.decoder);
  }

  // Storage

  tensor(data: TensorData | readonly number[], shape: Shape, dtype?: DType): Tensor {
    return storage.tensor(this, data, shape, dtype);
  }

  /**
   * Copies packed weights to the device.
   * @throws UnsupportedError where the backend has none of that type (`packedDTypes`)
   */
  packed(weights: PackedWeights): Tensor {
    return storage.packed(this, weights);
  }

  zeros(shape: Shape, dtype: DType = 'f32'): Tensor {
    return storage.fill(this, 'zeros', shape, 0, dtype);
  }

  full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
    return storage.fill(this, 'full', shape, value, dtype);
  }

  reshape(x: Tensor, shape: Shape): Tensor {
    return storage.reshape(this, x, shape);
  }

  cast(x: Tensor, dtype: DType): Tensor {
    return storage.cast(this, x, dtype);
  }

  castGrad(dy: Tensor, dtype: DType): Tensor {
    return storage.cast(this, dy, dtype);
  }

  slice(x: Tensor, axis: number, start: number, end: number): Tensor {
    return storage.slice(this, x, axis, start, end);
  }

  sliceGrad(dy: Tensor, shape: Shape, axis: number, start: number): Tensor {
    return storage.sliceGrad(this, dy, shape, axis, start);
  }

  copyInto(target: Tensor, source: Tensor, axis: number, offset: number): void {
    storage.copyInto(this, target, source, axis, offset);
  }

  /**
   * As `data()` of several f32 tensors, one behind the other, into memory that is there: `target` has the length of all together.
   * Resolves when it is filled, which does not wait for work that is launched later. Native backends write over a
   * SharedArrayBuffer straight away, and other memory, which could be transferred meanwhile, by way of a copy.
   */
  readInto(tensors: readonly Tensor[], target: Float32Array): Promise<void> {
    return storage.readInto(this, tensors, target);
  }

  /**
   * In place: overwrites f32 tensors with `source`, one behind the other. Ops that are launched from now on see it. Resolves
   * when `source` may change.
   */
  writeFrom(tensors: readonly Tensor[], source: Float32Array): Promise<void> {
    return storage.writeFrom(this, tensors, source);
  }

  // Arithmetic

  add(a: Tensor, b: Tensor): Tensor {
    return arithmetic.add(this, a, b);
  }

  addGrad(dy: Tensor): { da: Tensor; db: Tensor } {
    return arithmetic.addGrad(this, dy);
  }

  mul(a: Tensor, b: Tensor): Tensor {
    return arithmetic.mul(this, a, b);
  }

  mulGrad(dy: Tensor, a: Tensor, b: Tensor): { da: Tensor; db: Tensor } {
    return arithmetic.mulGrad(this, dy, a, b);
  }

  scale(x: Tensor, factor: number): Tensor {
    return arithmetic.scale(this, x, factor);
  }

  scaleGrad(dy: Tensor, factor: number): Tensor {
    return arithmetic.scale(this, dy, factor);
  }

  sum(x: Tensor): Tensor {
    return arithmetic.sum(this, x);
  }

  sumGrad(dy: Tensor, shape: Shape, dtype: DType = dy?.dtype ?? 'f32'): Tensor {
    return arithmetic.sumGrad(this, dy, shape, dtype);
  }

  sumSquares(tensors: readonly Tensor[]): Tensor {
    return arithmetic.sumSquares(this, tensors);
  }

  // Primitives

  unary(fn: UnaryFunction, x: Tensor): Tensor {
    return primitives.unary(this, fn, x);
  }

  binary(fn: BinaryFunction, a: Tensor, b: Tensor): Tensor {
    return primitives.binary(this, fn, a, b);
  }

  reduce(fn: ReduceFunction, x: Tensor, options?: primitives.ReduceOptions): Tensor {
    return primitives.reduce(this, fn, x, options);
  }

  permute(x: Tensor, axes: readonly number[]): Tensor {
    return primitives.permute(this, x, axes);
  }

  broadcast(x: Tensor, shape: Shape): Tensor {
    return primitives.broadcast(this, x, shape);
  }

  where(mask: Tensor, a: Tensor, b: Tensor): Tensor {
    return primitives.where(this, mask, a, b);
  }

  concat(tensors: readonly Tensor[], axis: number): Tensor {
    return primitives.concat(this, tensors, axis);
  }

  pad(x: Tensor, axis: number, before: number, after: number, value?: number): Tensor {
    return primitives.pad(this, x, axis, before, after, value);
  }

  gather(x: Tensor, indices: Tensor, axis: number): Tensor {
    return primitives.gather(this, x, indices, axis);
  }

  custom(op: CustomOp): Tensor {
    const { output, saved } = runCustom(this, op);
    for (const x of saved) x.dispose();
    return output;
  }

  // Matrices

  matmul(a: Tensor, b: Tensor, options?: products.MatmulOptions): Tensor {
    return products.matmul(this, a, b, options);
  }

  matmulGrad(
    dy: Tensor,
    a: Tensor,
    b: Tensor,
    options?: Omit<products.MatmulOptions, 'accumulate'>,
  ): { da: Tensor; db: Tensor } {
    return products.matmulGrad(this, dy, a, b, options);
  }

  // Layers

  rmsNorm(x: Tensor, weight: Tensor, options?: layers.RmsNormOptions): Tensor {
    return layers.rmsNorm(this, x, weight, options);
  }

  rmsNormGrad(dy: Tensor, x: Tensor, weight: Tensor, options?: layers.RmsNormOptions): { dx: Tensor; dweight: Tensor } {
    return layers.rmsNormGrad(this, dy, x, weight, options);
  }

  rope(x: Tensor, options?: layers.RopeOptions): Tensor {
    return layers.rotate(this, 'rope', x, options);
  }

  ropeGrad(dy: Tensor, options?: layers.RopeOptions): Tensor {
    return layers.rotate(this, 'ropeGrad', dy, options);
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    return layers.swiglu(this, gate, up);
  }

  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor } {
    return layers.swigluGrad(this, dy, gate, up);
  }

  embedding(weight: Tensor, ids: Tensor): Tensor {
    return layers.embedding(this, weight, ids);
  }

  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor {
    return layers.embeddingGrad(this, dy, ids, vocabulary);
  }

  // Attention

  attention(q: Tensor, k: Tensor, v: Tensor, options?: attention.AttentionOptions): attention.AttentionResult {
    return attention.attention(this, q, k, v, options);
  }

  attentionGrad(dOutput: Tensor, saved: SavedAttention): attention.AttentionGradResult {
    return attention.attentionGrad(this, dOutput, saved);
  }

  attentionWeights(q: Tensor, k: Tensor, options?: Omit<attention.AttentionOptions, 'save'>): Tensor {
    return attention.attentionWeights(this, q, k, options);
  }

  elasticSoftmax(scores: Tensor, options?: elastic.ElasticSoftmaxOptions): Tensor {
    return elastic.elasticSoftmax(this, scores, options);
  }

  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    options?: elastic.ElasticSoftmaxOptions,
  ): { dscores: Tensor; dtau: Tensor | undefined } {
    return elastic.elasticSoftmaxGrad(this, dWeights, scores, options);
  }

  // Training

  crossEntropy(logits: Tensor, targets: Tensor, options?: loss.CrossEntropyOptions): loss.CrossEntropyResult {
    return loss.crossEntropy(this, logits, targets, options);
  }

  crossEntropyGrad(
    dLoss: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    options?: loss.CrossEntropyOptions,
  ): Tensor {
    return loss.crossEntropyGrad(this, dLoss, logits, targets, lse, options);
  }

  adamw(updates: readonly optimizer.AdamWTensors[], options: optimizer.AdamWOptions): void {
    optimizer.adamw(this, updates, options);
  }
}
