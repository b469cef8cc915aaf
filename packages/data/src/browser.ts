/** Everything that needs no disk: runs in Node and in browsers. */
export { type ByteTokenizerOptions, byteTokenizer } from './byte-tokenizer.ts';
export { type Corpus, type CorpusPart, type Piece, type ReadOptions, textCorpus } from './corpus.ts';
export type { Dataset } from './dataset.ts';
export { DataError, type DataErrorCode } from './errors.ts';
export { type HuggingFaceTokenizerOptions, huggingFaceTokenizer } from './huggingface-tokenizer.ts';
export { type Batch, IGNORE_INDEX } from './packing.ts';
export { textLines } from './read/jsonl.ts';
export { createSampler, type Sampler, type SamplerOptions, type SamplerState } from './sampler.ts';
export { type SplitOptions, type StoreSplit, splitStore, type TokenSplit } from './split.ts';
export { type TokenizeOptions, type TokenStore, tokenizeCorpus } from './store.ts';
export type { TokenizeProgress } from './store-builder.ts';
export { type LetterPairs, letterPairs } from './tasks/symbols.ts';
export { TASKS, type TaskName, type TaskOptions, taskDataset } from './tasks/task-data.ts';
export type {
  ByteTokenizerJSON,
  HuggingFaceTokenizerJSON,
  StreamDecoder,
  Tokenizer,
  TokenizerJSON,
} from './tokenizer.ts';
export { tokenizerFromJSON } from './tokenizer-json.ts';
export { type ValidationOptions, validationBatches } from './validation.ts';
