export { Backend } from './backend.ts';
export * from './contract/attention.ts';
export type * from './contract/decoder.ts';
export type * from './contract/kernels.ts';
export * from './contract/primitives.ts';
export type * from './contract/provider.ts';
export type * from './contract/tensor.ts';
export type * from './decoder/types.ts';
export * from './dtype.ts';
export * from './errors.ts';
export type { MemoryInfo } from './lifetimes/store.ts';
export { checkTensor, Tensor, type TensorOwner } from './lifetimes/tensor.ts';
export type { ArithmeticGradOps, ArithmeticOps, NormOps } from './ops/arithmetic.ts';
export type {
  AttentionGradOps,
  AttentionGradResult,
  AttentionOps,
  AttentionOptions,
  AttentionResult,
  AttentionWeightOps,
  LearnedOptions,
} from './ops/attention.ts';
export { runCustom } from './ops/custom.ts';
export type { ElasticSoftmaxGradOps, ElasticSoftmaxOps, ElasticSoftmaxOptions } from './ops/elastic-softmax.ts';
export type { LayerGradOps, LayerOps, RmsNormOptions, RopeOptions } from './ops/layers.ts';
export type { CrossEntropyOptions, CrossEntropyResult, LossGradOps, LossOps } from './ops/loss.ts';
export type { MatmulGradOps, MatmulOps, MatmulOptions } from './ops/matmul.ts';
export type * from './ops/ops.ts';
export type { AdamWOptions, AdamWTensors, OptimizerOps } from './ops/optimizer.ts';
export type { PrimitiveOps, ReduceOptions } from './ops/primitives.ts';
export type { SavedAttention } from './ops/saved.ts';
export type { CreationOps, ViewGradOps, ViewOps } from './ops/storage.ts';
export {
  columnsPerEntry,
  type EightBits,
  type FourBits,
  PACKED_COLUMNS,
  PACKED_ROWS,
  type PackedWeights,
  packBF16,
  packBlocks,
  packs,
  type ScaledEightBits,
  type ScaledFourBits,
  type ScaledParts,
  unpackWeights,
  type WeightBlocks,
  type WeightPart,
} from './packed.ts';
export { normal, shuffledOrder, uniform, uniformOf } from './random.ts';
export { CANDIDATES, type Candidate } from './registry/candidates.ts';
export { type BackendReport, createBackend, probeBackends, registerBackend } from './registry/registry.ts';
export { checkSampleOptions, type SampleOptions, sampleToken } from './sample.ts';
export {
  checkInteger,
  checkOptions,
  checkStillThere,
  elementCount,
  formatShape,
  type Shape,
  typedLength,
} from './shape.ts';
export { warn } from './warn.ts';
