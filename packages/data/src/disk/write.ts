import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { checkOptions } from '@lazy-attention/core';
import type { Corpus, CorpusPart, Piece } from '../corpus.ts';
import { DataError, requireInteger } from '../errors.ts';
import { batches, requireDocuments } from '../store.ts';
import type { TokenizeProgress } from '../store-builder.ts';
import { storeBuilder } from '../store-builder.ts';
import type { Tokenizer } from '../tokenizer.ts';
import { appender, makeFolder, removeJournal, shardWriter, writeWhole, writing } from './files.ts';
import { ENTRY, FILES, indexText, readIndex, SHARD_TOKENS, sha256 } from './format.ts';
import { type Journal, readJournal, writeJournal } from './journal.ts';
import { startThreads, type TokenizeThreads } from './threads.ts';
import type { Encoded } from './tokenize-messages.ts';

/** How far `writeTokenStore` has come. */
export interface StoreProgress extends TokenizeProgress {
  /** Bytes of the source that are done, as they are stored. */
  readonly read: number;
  /** Of all of them; null where nobody knows. */
  readonly total: number | null;
  /** Seconds that are left at the pace so far; null where nobody knows. */
  readonly secondsLeft: number | null;
}

/** What `writeTokenStore` takes. */
export interface WriteStoreOptions {
  /** Threads that tokenise; the store is the same for any number. Default: as many as the process may run at once. */
  readonly workers?: number;
  /** Called about twice a second, and at the end. */
  readonly onProgress?: (progress: StoreProgress) => void;
  /** Stops at once: what is done is kept, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Tokens of one shard. Default 2^23. */
  readonly shardTokens?: number;
}

/** Groups that are under way for each thread. */
const AHEAD = 3;
/** Milliseconds between two journals, which is what a kill can cost, and between two reports. */
const JOURNAL = 5000;
const REPORT = 500;

/**
 * Tokenises a corpus into a store in `folder`, or goes on with one that was begun there for the same corpus and tokeniser.
 * One that is complete is left as it is. Memory does not grow with the corpus. The caller sees to it that nobody else
 * writes there.
 * @throws DataError (STORE_EXISTS, STORE_WRITE, STORE_DAMAGED, DATA_EMPTY) · whatever reading or tokenising throws
 */
export async function writeTokenStore(
  corpus: Corpus,
  tokenizer: Tokenizer,
  folder: string,
  options: WriteStoreOptions = {},
): Promise<void> {
  checkOptions('writeTokenStore', options, ['workers', 'onProgress', 'signal', 'shardTokens']);
  const { workers = availableParallelism(), shardTokens = SHARD_TOKENS, signal } = options;
  requireInteger('writeTokenStore', 'workers', workers, 1, 1024);
  requireInteger('writeTokenStore', 'shardTokens', shardTokens, 1);
  const stamp = sourceStamp(corpus);
  const origin = sha256(JSON.stringify([stamp, tokenizer.fingerprint, shardTokens]));
  if (existsSync(join(folder, FILES.index))) return requireSame(folder, stamp, tokenizer);
  const journal = readJournal(folder, origin);
  writing(folder, () => makeFolder(resolve(folder)));
  const store = openWriting(folder, corpus, tokenizer, { origin, shardTokens }, journal);
  const threads = startThreads(tokenizer, workers);
  try {
    await tokenizeParts(corpus, store, threads, AHEAD * workers, options, journal);
    signal?.throwIfAborted();
    store.finish(stamp);
  } catch (error) {
    // Whatever stopped it, what was done stays; a disk that is full keeps the journal from before.
    store.keep();
    throw error;
  } finally {
    store.close();
    await threads.stop();
  }
}

function requireSame(folder: string, stamp: string, tokenizer: Tokenizer): void {
  const index = readIndex(folder);
  if (index.source.stamp === stamp && index.tokenizer.fingerprint === tokenizer.fingerprint) return;
  const what = index.source.stamp === stamp ? 'made with another tokeniser' : `of other data (${index.source.name})`;
  throw new DataError('STORE_EXISTS', `${folder}: holds a store ${what}; name another folder, or remove this one`);
}

/** Tells sources apart, and one source before and after a change. */
export function sourceStamp(corpus: Corpus): string {
  return sha256(JSON.stringify([corpus.name, partsOf(corpus).map(({ name, stamp }) => [name, stamp])]));
}

function partsOf(corpus: Corpus): readonly CorpusPart[] {
  return corpus.parts ?? [{ name: corpus.name, size: null, stamp: null, pieces: (options) => corpus.pieces(options) }];
}

type Writing = ReturnType<typeof openWriting>;

/** The files of a store in progress. */
function openWriting(
  folder: string,
  corpus: Corpus,
  tokenizer: Tokenizer,
  { origin, shardTokens }: { origin: string; shardTokens: number },
  journal: Journal | null,
) {
  const type = tokenizer.vocabSize <= 2 ** 16 ? ('uint16' as const) : ('uint32' as const);
  const saved = JSON.stringify(tokenizer.toJSON());
  const { fingerprint, name, vocabSize } = tokenizer;
  writeWhole(join(folder, FILES.tokenizer), saved);
  // With those of a document that has begun and is not held back.
  const begun = journal === null || journal.builder.begun.tokens < 2 ? 0 : journal.builder.begun.tokens;
  const shards = shardWriter(folder, type, (journal?.builder.tokens ?? 0) + begun, journal?.shards ?? [], shardTokens);
  const documents = appender(join(folder, FILES.documents), (journal?.builder.documents ?? 0) * ENTRY);
  const marks = appender(join(folder, FILES.marks), (journal?.marks ?? 0) * ENTRY);
  const entry = (first: number, write: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.alloc(ENTRY);
    bytes.writeDoubleLE(first);
    write(bytes);
    return bytes;
  };
  const builder = storeBuilder(
    tokenizer,
    {
      addTokens: (ids) => shards.add(ids),
      addMark: (tokens, bytes) => marks.append(entry(tokens, (out) => out.writeDoubleLE(bytes, 8))),
      addDocument: (end, high, low) =>
        documents.append(
          entry(end, (out) => {
            out.writeInt32LE(high, 8);
            out.writeInt32LE(low, 12);
          }),
        ),
    },
    journal?.builder,
  );
  let reached = { part: journal?.part ?? 0, groups: journal?.groups ?? 0, chain: journal?.chain ?? '' };
  let failed = false;
  const save = (): void => {
    for (const file of [shards, documents, marks]) file.sync();
    const position = { ...reached, builder: builder.state(), shards: [...shards.done], marks: marks.bytes() / ENTRY };
    writeJournal(folder, { origin, ...position });
  };
  return {
    builder,
    save,
    /** Takes the ids of a group in, after all groups before it. */
    add({ pieces, part, groups, chain }: Group, encoded: Encoded): void {
      failed = true;
      addGroup(builder, pieces, encoded);
      failed = false;
      reached = { part, groups, chain };
    },
    keep(): void {
      // After a group of which half is in, only the last journal is right.
      if (!failed) quietly(save);
    },
    finish(stamp: string): void {
      const { tokens, documents: count, skipped, bytes } = builder.state();
      requireDocuments(corpus.name, { documents: count, skipped });
      shards.finish();
      const documentsFile = { bytes: documents.bytes(), sha256: documents.finish() };
      const marksFile = { bytes: marks.bytes(), sha256: marks.finish() };
      failed = true;
      const text = indexText({
        source: { name: corpus.name, stamp },
        tokenizer: { name, fingerprint, vocabSize, bytes: Buffer.byteLength(saved), sha256: sha256(saved) },
        ...{ type, tokens, documents: count, skipped, bytes, fingerprint: builder.fingerprint() },
        ...{ shardTokens, shards: [...shards.done], documentsFile, marksFile },
      });
      writeWhole(join(folder, FILES.index), text);
      removeJournal(folder);
    },
    close(): void {
      for (const file of [shards, documents, marks]) quietly(() => file.close());
    },
  };
}

function addGroup(builder: Writing['builder'], pieces: readonly Piece[], { ids, counts, bytes }: Encoded): void {
  let at = 0;
  let n = 0;
  for (const { text, last } of pieces) {
    if (text !== '') {
      builder.addPiece(ids.subarray(at, at + counts[n]!), bytes[n]!);
      at += counts[n++]!;
    }
    if (last) builder.endDocument();
  }
}

/** Pieces that are tokenised together, and where the source is behind them. */
interface Group {
  readonly pieces: readonly Piece[];
  readonly part: number;
  readonly groups: number;
  readonly chain: string;
  /** Bytes of the source. */
  readonly read: number;
}

async function tokenizeParts(
  corpus: Corpus,
  store: Writing,
  threads: TokenizeThreads,
  ahead: number,
  { signal, onProgress }: WriteStoreOptions,
  journal: Journal | null,
): Promise<void> {
  const parts = partsOf(corpus);
  const progress = reporting(parts, store, onProgress);
  const under: { group: Group; encoded: Promise<Encoded> }[] = [];
  let savedAt = performance.now();
  const takeFirst = async (): Promise<void> => {
    const first = under.shift();
    if (first === undefined) return;
    const encoded = await untilAborted(first.encoded, signal);
    store.add(first.group, encoded);
    threads.recycle(encoded);
    progress(first.group.read);
    if (performance.now() - savedAt < JOURNAL) return;
    store.save();
    savedAt = performance.now();
  };
  for await (const group of groupsOf(corpus.name, parts, signal, journal)) {
    signal?.throwIfAborted();
    const encoded = threads.encode(group.pieces.flatMap(({ text }) => (text === '' ? [] : [text])));
    // Its failure is seen when its turn comes.
    encoded.catch(() => {});
    under.push({ group, encoded });
    if (under.length >= ahead) await takeFirst();
  }
  while (under.length > 0) await takeFirst();
  progress(null);
}

/** The groups of all parts behind the journal's position. What is passed over is read and compared, and not tokenised. */
async function* groupsOf(
  name: string,
  parts: readonly CorpusPart[],
  signal: AbortSignal | undefined,
  journal: Journal | null,
): AsyncGenerator<Group> {
  const first = journal?.part ?? 0;
  let before = parts.slice(0, first).reduce((sum, { size }) => sum + (size ?? 0), 0);
  for (let part = first; part < parts.length; part++) {
    let read = 0;
    let groups = 0;
    let chain = '';
    const skip = part === first ? (journal?.groups ?? 0) : 0;
    const onRead = (bytes: number) => {
      read = bytes;
    };
    for await (const pieces of batches(parts[part]!.pieces({ onRead, ...(signal === undefined ? {} : { signal }) }))) {
      signal?.throwIfAborted();
      groups++;
      chain = sha256(chain, ...pieces.flatMap(({ text, last }) => [text, last ? '\n\0' : '\0']));
      if (groups > skip) yield { pieces, part, groups, chain, read: before + read };
      else if (groups === skip && chain !== journal?.chain) throw changed(name, parts[part]!.name);
    }
    if (groups < skip) throw changed(name, parts[part]!.name);
    before += parts[part]!.size ?? read;
  }
}

function changed(name: string, part: string): DataError {
  return new DataError(
    'STORE_EXISTS',
    `${name}: ${part} is not what it was when the store was begun; give the same data again, or remove the store's folder`,
  );
}

/** A function that reports when it is time; `null` for the end. */
function reporting(parts: readonly CorpusPart[], store: Writing, onProgress: WriteStoreOptions['onProgress']) {
  const total = parts.some(({ size }) => size === null) ? null : parts.reduce((sum, { size }) => sum + (size ?? 0), 0);
  const began = performance.now();
  let from: number | null = null;
  let saidAt = began;
  return (read: number | null): void => {
    const now = performance.now();
    from ??= read ?? 0;
    if (onProgress === undefined || (read !== null && now - saidAt < REPORT)) return;
    saidAt = now;
    const done = read ?? total ?? 0;
    const pace = (done - from) / (now - began);
    const secondsLeft = total === null || !(pace > 0) ? null : Math.max(0, total - done) / pace / 1000;
    onProgress({ ...store.builder.progress(), read: done, total, secondsLeft: read === null ? 0 : secondsLeft });
  };
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // The error that brought us here says what is wrong.
  }
}
