/** Models of the world: Hugging Face, flash-linear-attention and GGUF. What needs Node's file system is in the Node entry. */
export { ModelError, type ModelErrorCode } from './errors.ts';
export { blobFiles, blobSource, type ModelFiles } from './files.ts';
export {
  type LoadDType,
  type LoadedModel,
  type LoadModelOptions,
  type ModelFormat,
  type OpenedModel,
  openModelFiles,
} from './open.ts';
export type { WeightsFormat } from './packed.ts';
export { openRunFiles } from './run.ts';
export { storedWeights } from './stored-weights.ts';
export type { StoredTensor, TensorStore } from './tensors/store.ts';
export type { WriteDType } from './write/config.ts';
