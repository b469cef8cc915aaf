/** Corpora, tokenisers, packing and sampling: from text on disk to training batches. See README.md. */
export * from './browser.ts';
export { chooseTokenizer, type DatasetOptions, loadDataset } from './dataset.ts';
export { isStore as isTokenStore, isWholeStore as isWholeTokenStore } from './disk/format.ts';
export { type OpenedStore, openTokenStore } from './disk/open.ts';
export { type StoreProgress, sourceStamp, type WriteStoreOptions, writeTokenStore } from './disk/write.ts';
export type { Framing } from './framing.ts';
export { type CorpusOptions, openCorpus } from './read/open.ts';
export { readParquetRows } from './read/parquet.ts';
export type { ParquetRow } from './read/parquet-messages.ts';
export { isUrl } from './read/stream.ts';
export { loadTokenizer } from './read/tokenizer-file.ts';
