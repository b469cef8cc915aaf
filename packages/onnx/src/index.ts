export type { OnnxCache } from './cache.ts';
export type { WrittenFiles } from './encode.ts';
export { OnnxFileError } from './errors.ts';
export { type ExportedFiles, type ExportOptions, exportAttention, exportModel, exportOnnx } from './export.ts';
export { type OnnxMetadata, readMetadata } from './metadata.ts';
export { OnnxModel, type OnnxModelOptions } from './onnx-model.ts';
export { type OnnxProvider, PROVIDERS } from './runtime.ts';
