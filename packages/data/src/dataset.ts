import { checkOptions, ValueError } from '@lazy-attention/core';
import type { Corpus } from './corpus.ts';
import { isStore } from './disk/format.ts';
import { openTokenStore } from './disk/open.ts';
import { DataError, requireInteger } from './errors.ts';
import { type Framing, framed, framedBytes } from './framing.ts';
import { windowCount } from './packing.ts';
import { CORPUS_OPTIONS, type CorpusOptions, openCorpus } from './read/open.ts';
import { loadTokenizer } from './read/tokenizer-file.ts';
import { type StoreSplit, splitStore } from './split.ts';
import { type TokenizeOptions, type TokenStore, tokenizeCorpus } from './store.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What `loadDataset` takes. `bos` and `eos` go with a tokeniser by name; one that is given as such has its own. */
export interface DatasetOptions extends CorpusOptions, TokenizeOptions, Framing {
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
  const own = ['context', 'tokenizer', 'bos', 'eos', 'validation', 'splitSeed', 'onProgress', 'signal'];
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
  const tokenizer = await chooseTokenizer(options.tokenizer ?? 'bytes', corpus, options);
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
  const asked = await askedOf(options, tokenizer);
  if (asked.fingerprint !== tokenizer.fingerprint) {
    const other = options.bos === undefined && options.eos === undefined ? '' : ' with these tokens around documents';
    throw new DataError(
      'STORE_TOKENIZER',
      `${folder}: its tokens are of ${tokenizer.name} (${tokenizer.vocabSize} ids), and not of ${asked.name}${other} as asked for; leave that out, or tokenise the text again`,
    );
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

/** What a store of `own` should have been made with; 'bytes' is whichever of the byte tokenisers that was. */
async function askedOf(options: DatasetOptions, own: Tokenizer): Promise<Tokenizer> {
  const { tokenizer: choice = own.name === 'bytes' ? 'bytes' : own, bos, eos } = options;
  const asIs = bos === undefined && eos === undefined;
  const isOwn = choice === own || (choice === 'bytes' && own.name === 'bytes');
  if (isOwn) return asIs ? own : framed(own, { bos, eos });
  return chooseTokenizer(choice, { singleDocument: false }, options);
}

/**
 * The tokeniser of a choice: itself, 'bytes' (with a document separator unless the corpus is one document), or a tokenizer.json, which
 * puts `framing`'s tokens around documents.
 * @throws DataError (TOKENIZER, DATA_MISSING, DATA_UNREADABLE) · ValueError for a framing of a tokeniser that is given as such
 */
export async function chooseTokenizer(
  choice: string | Tokenizer,
  corpus: Pick<Corpus, 'singleDocument'>,
  { bos, eos }: Framing = {},
): Promise<Tokenizer> {
  if (typeof choice !== 'string') {
    if (bos === undefined && eos === undefined) return choice;
    throw new ValueError('chooseTokenizer: bos and eos go with a tokeniser by name; this one has its own');
  }
  if (choice === 'bytes') return framedBytes(!corpus.singleDocument, { bos, eos });
  return loadTokenizer(choice, {
    ...(bos === undefined ? {} : { bosToken: bos }),
    ...(eos === undefined ? {} : { eosToken: eos }),
  });
}

/** The named properties that are there and not undefined. */
function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]]))) as Pick<T, K>;
}
