/** Corpora, tokenisers, packing and sampling: from text on disk to training batches. See README.md. */
export * from './browser.ts';
export { type Dataset, type DatasetOptions, loadDataset } from './dataset.ts';
export { type CorpusOptions, openCorpus } from './read/open.ts';
export { loadTokenizer } from './read/tokenizer-file.ts';
