import { checkOptions } from '@lazy-attention/core';
import { byteTokenizer } from './byte-tokenizer.ts';
import type { Corpus } from './corpus.ts';
import { requireInteger } from './errors.ts';
import { windowCount } from './packing.ts';
import { CORPUS_OPTIONS, type CorpusOptions, openCorpus } from './read/open.ts';
import { loadTokenizer } from './read/tokenizer-file.ts';
import { type StoreSplit, splitStore } from './split.ts';
import { type TokenizeOptions, type TokenStore, tokenizeCorpus } from './store.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface DatasetOptions extends CorpusOptions, TokenizeOptions {
  /** Tokens per row that both sides must have at least one window of. At least 2. */
  readonly context: number;
  /** 'bytes', the path of a tokenizer.json (or its folder), or a tokeniser. Default 'bytes', with a document separator unless the corpus is one document. */
  readonly tokenizer?: string | Tokenizer;
  /** Share of the tokens that is held out, in [0, 1). Default 0.1. */
  readonly validation?: number;
  /** Chooses other held-out documents. Default 0. */
  readonly splitSeed?: number;
}

/** A corpus, tokenised and split. */
export interface Dataset extends StoreSplit {
  /** What it was read from. */
  readonly corpus: Corpus;
  /** What made its tokens. */
  readonly tokenizer: Tokenizer;
  /** All tokens. */
  readonly store: TokenStore;
  /** Of the store: tells runs on different data or tokenisers apart. */
  readonly fingerprint: string;
}

/**
 * Opens, tokenises and splits a corpus. `source` is what {@link openCorpus} takes, or a corpus.
 * @throws DataError; DATA_TOO_SHORT already here if a side has fewer tokens than one window · ValueError for a wrong option
 */
export async function loadDataset(source: string | Corpus, options: DatasetOptions): Promise<Dataset> {
  const own = ['context', 'tokenizer', 'validation', 'splitSeed', 'onProgress', 'signal'];
  checkOptions('loadDataset', options, [...own, ...CORPUS_OPTIONS]);
  requireInteger('loadDataset', 'context', options.context, 2);
  const corpus = typeof source === 'string' ? await openCorpus(source, pick(options, CORPUS_OPTIONS)) : source;
  const tokenizer = await chooseTokenizer(options.tokenizer ?? 'bytes', corpus);
  const store = await tokenizeCorpus(corpus, tokenizer, pick(options, ['onProgress', 'signal']));
  const split = splitStore(store, {
    ...pick(options, ['validation']),
    ...(options.splitSeed === undefined ? {} : { seed: options.splitSeed }),
  });
  windowCount(`loadDataset: ${corpus.name}: training part`, split.train, options.context);
  if (split.validation !== null) {
    windowCount(`loadDataset: ${corpus.name}: validation part`, split.validation, options.context);
  }
  return { corpus, tokenizer, store, fingerprint: store.fingerprint, ...split };
}

async function chooseTokenizer(choice: string | Tokenizer, corpus: Corpus): Promise<Tokenizer> {
  if (typeof choice !== 'string') return choice;
  return choice === 'bytes' ? byteTokenizer({ documentSeparator: !corpus.singleDocument }) : loadTokenizer(choice);
}

/** The named properties that are there and not undefined. */
function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]]))) as Pick<T, K>;
}
