export { type SampleOptions, sampleToken } from '@lazy-attention/core';
export type {
  AttentionDefinition,
  AttentionDescription,
  AttentionInputs,
  AttentionParameter,
  AttentionRole,
  AttentionSpec,
  AttentionSymbol,
  ComposedAttention,
  FusedAttention,
  Memory,
} from './attention/definition.ts';
export { isFused } from './attention/definition.ts';
export type { ObservedWeights, WatchingOps } from './attention/observed.ts';
export {
  ATTENTION_KINDS,
  attentionKind,
  attentionKinds,
  defineAttention,
  isAttentionKind,
} from './attention/registry.ts';
export {
  type AddedScores,
  type ScoreRows,
  type WeightedOptions,
  type WeightFunction,
  weightedAttention,
} from './attention/rows.ts';
export { recomputed } from './autodiff/recomputed.ts';
export { addingGrad, type ValueAndGrad, valueAndGrad } from './autodiff/value-and-grad.ts';
export { batchTensors, type HostBatch } from './batch.ts';
export { decodeElements, encodeElements } from './checkpoint/elements.ts';
export { type LoadParamsOptions, loadParamsFrom } from './checkpoint/params.ts';
export {
  decodeSafetensors,
  encodeHeader as encodeSafetensorsHeader,
  encodeSafetensors,
  type HostTensor,
  type Safetensors,
  type TensorEntry,
} from './checkpoint/safetensors.ts';
export { type ByteSource, readSafetensorsHeader, type SafetensorsHeader } from './checkpoint/source.ts';
export { type Buckets, summedInBuckets } from './distributed/buckets.ts';
export { type Communicator, hostAllReduce, oneProcess } from './distributed/communicator.ts';
export { CheckpointError, type CheckpointErrorCode, ConfigError, type KeyName } from './errors.ts';
export { type GenerateOptions, generate } from './generate/generate.ts';
export { alibiSlopes } from './layers/alibi.ts';
export { type LazyAttentionLayer, lazyAttentionLayer } from './layers/attention.ts';
export { type CacheOptions, createCache, type KvCache, type LayerCache } from './layers/cache.ts';
export type { AttentionForwardOptions, ObservedAttention } from './layers/operands.ts';
export type { CountingOptions } from './memory/counting.ts';
export { type MemoryPlan, type MemoryPlanOptions, memoryPlan, memoryTraits } from './memory/plan.ts';
export type {
  AttentionConfig,
  AttentionKind,
  AttentionOptionsInput,
  LazyTransformerConfig,
  LazyTransformerOptions,
  RopeScaling,
} from './model/config.ts';
export { flopsPerToken, parameterCount } from './model/cost.ts';
export type { InitOptions } from './model/init.ts';
export type { Shapes } from './model/parameters.ts';
export { PRESETS, type PresetName, preset } from './model/presets.ts';
export { attentionConfigOf } from './model/resolve.ts';
export { type RopeFrequencies, ropeFrequencies } from './model/rope-scaling.ts';
export {
  type Batch,
  type ForwardOptions,
  type LazyTransformer,
  type LossOptions,
  lazyTransformer,
  type ObservedLayer,
} from './model/transformer.ts';
export { type AdamW, type AdamWConfig, type AdamWState, adamW, decaysByDefault } from './optim/adamw.ts';
export { type CosineScheduleOptions, cosineSchedule } from './optim/schedule.ts';
export { type ShardedAdamW, shardedAdamW, shardOf } from './optim/sharded.ts';
export { castParams, disposeParams, type Params } from './params.ts';
export { uniform } from './random.ts';
