import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  type Corpus,
  type CorpusOptions,
  chooseTokenizer,
  type DatasetOptions,
  isTokenStore,
  isWholeTokenStore,
  openCorpus,
  type StoreProgress,
  sourceStamp,
  type Tokenizer,
  writeTokenStore,
} from '@lazy-attention/data';
import { count, duration } from '../output/format.ts';
import { makeFolder } from '../run/files.ts';
import { lockFolder } from '../run/lock.ts';

/** Bytes of a source above which its tokens go to a store: below, tokenising takes about a minute. */
export const STORED_ABOVE = 64e6;

/** Milliseconds between two lines about progress. */
const SAY = 5000;

/**
 * The store of a large source, made now or by an earlier run; null for a small one, which is tokenised in memory. Another
 * one is made when the source or the tokeniser changes.
 */
export async function cachedStore(
  source: string,
  place: CorpusOptions,
  { tokenizer, signal, ...framing }: Pick<DatasetOptions, 'tokenizer' | 'signal' | 'bos' | 'eos'>,
  say: (line: string) => void,
): Promise<string | null> {
  if (source === 'moby-dick' || isTokenStore(source)) return null;
  const corpus = await openCorpus(source, place);
  const sizes = corpus.parts?.map(({ size }) => size) ?? [null];
  const bytes = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  // What nobody can tell from a changed one is not kept.
  if (bytes < STORED_ABOVE || corpus.parts?.some(({ stamp }) => stamp === null)) return null;
  const chosen = await chooseTokenizer(tokenizer ?? 'bytes', corpus, framing);
  const key = createHash('sha256')
    .update(`${source}\n${sourceStamp(corpus)}\n${chosen.fingerprint}`)
    .digest('hex');
  const name = corpus.name.replace(/[^\w.-]/g, '-').slice(0, 64);
  const folder = join(cacheFolder(), 'stores', `${name}-${key.slice(0, 16)}`);
  say(`Tokens of ${corpus.name} (${(bytes / 1e6).toFixed(0)} MB) are kept in ${folder}; --no-store turns that off`);
  await writeLocked(corpus, chosen, folder, { onProgress: everyFewSeconds(say), ...(signal && { signal }) });
  return folder;
}

/** LAZY_ATTENTION_CACHE, or where this system keeps what can be made again. */
function cacheFolder(): string {
  const { LAZY_ATTENTION_CACHE, XDG_CACHE_HOME } = process.env;
  return LAZY_ATTENTION_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'lazy-attention');
}

/** `writeTokenStore` for one process at a time; a whole store is only compared, by as many as like. @throws RunError RUN_LOCKED */
export async function writeLocked(
  corpus: Corpus,
  tokenizer: Tokenizer,
  folder: string,
  options: Parameters<typeof writeTokenStore>[3],
): Promise<void> {
  if (isWholeTokenStore(folder)) return writeTokenStore(corpus, tokenizer, folder, options);
  makeFolder(folder);
  const lock = lockFolder(folder);
  try {
    await writeTokenStore(corpus, tokenizer, folder, options);
  } finally {
    lock.release();
  }
}

/** One line on how far a store has come. */
export function progressText({ read, total, tokens, secondsLeft }: StoreProgress): string {
  const megabytes = (bytes: number) => `${count(bytes / 1e6)} MB`;
  const all = total === null ? '' : ` of ${megabytes(total)}`;
  const left = secondsLeft === null ? '' : `, ${duration(secondsLeft)} left`;
  return `${megabytes(read)}${all}, ${count(tokens)} tokens${left}`;
}

function everyFewSeconds(say: (line: string) => void): (progress: StoreProgress) => void {
  let saidAt = performance.now();
  return (progress) => {
    if (performance.now() - saidAt < SAY) return;
    saidAt = performance.now();
    say(`Tokenising: ${progressText(progress)}`);
  };
}
