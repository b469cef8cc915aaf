import { checkOptions } from '@lazy-attention/core';
import type { Corpus, Piece } from './corpus.ts';
import { DataError } from './errors.ts';
import { bytesBefore, storeBuilder, type TokenizeProgress } from './store-builder.ts';
import { PIECE, withTimeLimit } from './time-limit.ts';
import { TokenBuffer } from './token-buffer.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The tokens of a corpus, in memory or on the disk, and where its documents end. Read-only. */
export interface TokenStore {
  /** Tokens of all documents, with those that frame them. */
  readonly length: number;
  /** Documents that are in it. */
  readonly documents: number;
  /** Documents left out because there is nothing to predict in them: no text, or fewer than two tokens. */
  readonly skipped: number;
  /** Bytes of the text in UTF-8. */
  readonly bytes: number;
  /** Every id is below it. */
  readonly vocabSize: number;
  /** Hash of the tokeniser, every token and every boundary: 32 hexadecimal digits. */
  readonly fingerprint: string;
  /** documentEnds[d]: one past the last token of document d; document d + 1 begins there. */
  readonly documentEnds: ArrayLike<number>;
  /** Two 32-bit words of document d's content hash, at 2 d. */
  readonly documentHashes: ArrayLike<number>;
  /** Copies tokens [start, start + count) to out[at...]. */
  read(start: number, count: number, out: Int32Array, at: number): void;
  /** UTF-8 bytes of the text of tokens [0, end): exact at document ends, interpolated within 64 Ki characters elsewhere. */
  bytesBefore(end: number): number;
}

/** What `tokenizeCorpus` takes. */
export interface TokenizeOptions {
  /** Called after about every megabyte of text, at least every half second, and once at the end. */
  readonly onProgress?: (progress: TokenizeProgress) => void;
  /** Stops the work within a fraction of a second: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How far back from the end of a piece a good place to cut is looked for. */
const CUT_SEARCH = 1 << 12;
/** Bytes of text, or milliseconds of work, after which timers and signals get their turn. */
const TURN_BYTES = 1 << 20;
const TURN = 25;
/** Milliseconds between two reports of progress, unless a megabyte is done before. */
const REPORT = 500;

/**
 * Reads a corpus once and tokenises it.
 * @throws DataError (DATA_EMPTY) when it has no document with two tokens · whatever reading the corpus throws
 */
export async function tokenizeCorpus(
  corpus: Corpus,
  tokenizer: Tokenizer,
  options: TokenizeOptions = {},
): Promise<TokenStore> {
  checkOptions('tokenizeCorpus', options, ['onProgress', 'signal']);
  const { signal, onProgress } = options;
  const { builder, finish } = memoryStore(tokenizer);
  const encoder = new TextEncoder();
  const turn = turns(onProgress);
  for await (const pieces of batches(corpus.pieces(signal === undefined ? {} : { signal }))) {
    signal?.throwIfAborted();
    // One limit for many short documents, since each costs a tenth of a millisecond.
    const encoded = withTimeLimit(tokenizer.name, PIECE, () =>
      pieces.map(({ text }) => (text === '' ? null : tokenizer.encode(text))),
    );
    for (const [i, { text, last }] of pieces.entries()) {
      const ids = encoded[i];
      if (ids != null) builder.addPiece(ids, encoder.encode(text).length);
      if (last) builder.endDocument();
    }
    await turn(builder.progress());
    signal?.throwIfAborted();
  }
  const store = finish();
  onProgress?.({ documents: store.documents, tokens: store.length, bytes: store.bytes });
  requireDocuments(corpus.name, store);
  return store;
}

/** @throws DataError (DATA_EMPTY) @internal */
export function requireDocuments(
  name: string,
  { documents, skipped }: Pick<TokenStore, 'documents' | 'skipped'>,
): void {
  if (documents > 0) return;
  throw new DataError('DATA_EMPTY', `${name}: no text in it (${skipped} documents have none or fewer than two tokens)`);
}

/** Pieces in groups of about PIECE code units, longer ones cut to that. @internal */
export async function* batches(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece[]> {
  let batch: Piece[] = [];
  let size = 0;
  let rest = '';
  for await (const { text, last } of pieces) {
    rest += text;
    while (rest.length > PIECE) {
      const cut = cutPosition(rest);
      yield [...batch, { text: rest.slice(0, cut), last: false }];
      rest = rest.slice(cut);
      [batch, size] = [[], 0];
    }
    if (!last) continue;
    batch.push({ text: rest, last });
    size += rest.length;
    rest = '';
    if (size < PIECE) continue;
    yield batch;
    [batch, size] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}

/**
 * A function that passes progress on, and lets timers and signals in, when it is time: a corpus in memory would hold the
 * thread to its end.
 */
function turns(onProgress: TokenizeOptions['onProgress']): (progress: TokenizeProgress) => Promise<void> {
  let worked = performance.now();
  let reported = worked;
  let bytes = 0;
  return async (progress) => {
    const much = progress.bytes - bytes >= TURN_BYTES;
    if (!much && performance.now() - worked < TURN) return;
    await new Promise((resolve) => setTimeout(resolve));
    worked = performance.now();
    if (!much && worked - reported < REPORT) return;
    reported = worked;
    bytes = progress.bytes;
    onProgress?.(progress);
  };
}

/** A store in memory, as it grows. */
function memoryStore(tokenizer: Tokenizer) {
  const tokens = new TokenBuffer(tokenizer.vocabSize);
  const documentEnds: number[] = [];
  const documentHashes: number[] = [];
  const marks = { tokens: [0], bytes: [0] };
  const builder = storeBuilder(tokenizer, {
    addTokens: (ids) => tokens.append(ids),
    addMark(markTokens, markBytes) {
      marks.tokens.push(markTokens);
      marks.bytes.push(markBytes);
    },
    addDocument(end, high, low) {
      documentEnds.push(end);
      documentHashes.push(high, low);
    },
  });
  return {
    builder,
    finish(): TokenStore {
      const { documents, skipped, bytes } = builder.state();
      return {
        length: tokens.length,
        documents,
        skipped,
        bytes,
        vocabSize: tokenizer.vocabSize,
        fingerprint: builder.fingerprint(),
        documentEnds,
        documentHashes,
        read: (from, count, out, at) => tokens.read(from, count, out, at),
        bytesBefore: bytesBefore(marks),
      };
    },
  };
}

/**
 * Where to cut a text longer than PIECE so that its tokens are those of the uncut text: before a space between two letters.
 * Tokenisers that split words first always have a boundary there. If there is no such place nearby, then at PIECE, but
 * never within a surrogate pair.
 */
function cutPosition(text: string): number {
  const letter = /^\p{L}$/u;
  for (let at = PIECE; at > PIECE - CUT_SEARCH; at--) {
    if (text[at] === ' ' && letter.test(text[at - 1]!) && letter.test(text[at + 1] ?? '')) return at;
  }
  const unit = text.charCodeAt(PIECE);
  return unit >= 0xdc00 && unit < 0xe000 ? PIECE - 1 : PIECE;
}
