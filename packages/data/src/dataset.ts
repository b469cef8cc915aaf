import { checkOptions, ValueError } from '@lazy-attention/core';
import { byteTokenizer } from './byte-tokenizer.ts';
import type { Corpus } from './corpus.ts';
import { isStore } from './disk/format.ts';
import { openTokenStore } from './disk/open.ts';
import { DataError, requireInteger } from './errors.ts';
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
 * Opens, tokenises and splits a corpus. `source` is what {@link openCorpus} takes, a corpus, or the folder
 * of a store ({@link writeTokenStore}), whose tokens stay on the disk.
 * @throws DataError; DATA_TOO_SHORT already here if a side has fewer tokens than one window; STORE_TOKENIZER for a store of another tokeniser · ValueError for a wrong option
 */
export async function loadDataset(source: string | Corpus, options: DatasetOptions): Promise<Dataset> {
  const own = ['context', 'tokenizer', 'validation', 'splitSeed', 'onProgress', 'signal'];
  checkOptions('loadDataset', options, [...own, ...CORPUS_OPTIONS]);
  requireInteger('loadDataset', 'context', options.context, 2);
  const { corpus, tokenizer, store } =
    typeof source === 'string' && isStore(source)
      ? await openedStore(source, options)
      : await tokenized(
          typeof source === 'string' ? await openCorpus(source, pick(options, CORPUS_OPTIONS)) : source,
          options,
        );
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

type Tokenized = Pick<Dataset, 'corpus' | 'tokenizer' | 'store'>;

async function tokenized(corpus: Corpus, options: DatasetOptions): Promise<Tokenized> {
  const tokenizer = await chooseTokenizer(options.tokenizer ?? 'bytes', corpus);
  return { corpus, tokenizer, store: await tokenizeCorpus(corpus, tokenizer, pick(options, ['onProgress', 'signal'])) };
}

/** What a store holds. Its tokeniser is its own; one that is given has to be the same. */
async function openedStore(folder: string, options: DatasetOptions): Promise<Tokenized> {
  for (const name of CORPUS_OPTIONS) {
    if (options[name] !== undefined) {
      throw new ValueError(
        `loadDataset: the option '${name}' has no use for a store of tokens (${folder}); leave it out`,
      );
    }
  }
  const { store, tokenizer, source } = openTokenStore(folder);
  if (options.tokenizer !== undefined) {
    const { name, fingerprint } =
      typeof options.tokenizer === 'string' ? await given(options.tokenizer, tokenizer) : options.tokenizer;
    if (fingerprint !== tokenizer.fingerprint) {
      throw new DataError(
        'STORE_TOKENIZER',
        `${folder}: its tokens are of ${tokenizer.name} (${tokenizer.vocabSize} ids), and not of ${name} as asked for; leave the tokeniser out, or tokenise the text again`,
      );
    }
  }
  const corpus: Corpus = {
    ...{ name: source, kind: 'store', singleDocument: store.documents === 1 },
    // biome-ignore lint/correctness/useYield: there is no text to give
    async *pieces() {
      throw new DataError('DATA_FORMAT', `${folder}: a store has tokens and no text`);
    },
  };
  return {
    corpus,
    tokenizer: options.tokenizer === undefined || typeof options.tokenizer === 'string' ? tokenizer : options.tokenizer,
    store,
  };
}

/** 'bytes' is whichever of the two byte tokenisers the store was made with. */
async function given(choice: string, own: Tokenizer): Promise<Tokenizer> {
  return choice === 'bytes' && own.name === 'bytes' ? own : chooseTokenizer(choice, { singleDocument: false });
}

/**
 * The tokeniser of a choice: itself, 'bytes' (with a document separator unless the corpus is one document), or a tokenizer.json.
 * @throws DataError (TOKENIZER, DATA_MISSING, DATA_UNREADABLE)
 */
export async function chooseTokenizer(
  choice: string | Tokenizer,
  corpus: Pick<Corpus, 'singleDocument'>,
): Promise<Tokenizer> {
  if (typeof choice !== 'string') return choice;
  return choice === 'bytes' ? byteTokenizer({ documentSeparator: !corpus.singleDocument }) : loadTokenizer(choice);
}

/** The named properties that are there and not undefined. */
function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]]))) as Pick<T, K>;
}
