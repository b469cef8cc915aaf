import { checkOptions } from '@lazy-attention/core';
import type { Corpus, Piece } from './corpus.ts';
import { DataError } from './errors.ts';
import { IntegerHash } from './hash.ts';
import { PIECE, withTimeLimit } from './time-limit.ts';
import { TokenBuffer } from './token-buffer.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The tokens of a corpus in memory, and where its documents end. Read-only. */
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

/** How far `tokenizeCorpus` has come. */
export interface TokenizeProgress {
  /** Documents that are complete. */
  readonly documents: number;
  /** Tokens so far. */
  readonly tokens: number;
  /** Bytes of their text in UTF-8. */
  readonly bytes: number;
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
  const builder = storeBuilder(tokenizer);
  const turn = turns(onProgress);
  for await (const pieces of batches(corpus.pieces(signal === undefined ? {} : { signal }))) {
    signal?.throwIfAborted();
    // One limit for many short documents, since each costs a tenth of a millisecond.
    withTimeLimit(tokenizer.name, PIECE, () => {
      for (const { text, last } of pieces) {
        builder.addText(text);
        if (last) builder.endDocument();
      }
    });
    await turn(builder.progress());
    signal?.throwIfAborted();
  }
  const store = builder.finish();
  onProgress?.({ documents: store.documents, tokens: store.length, bytes: store.bytes });
  if (store.documents === 0) {
    throw new DataError(
      'DATA_EMPTY',
      `${corpus.name}: no text in it (${store.skipped} documents have none or fewer than two tokens)`,
    );
  }
  return store;
}

/** Pieces in groups of about PIECE code units, longer ones cut to that. */
async function* batches(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece[]> {
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

function storeBuilder(tokenizer: Tokenizer) {
  const { vocabSize, bosId, eosId } = tokenizer;
  const tokens = new TokenBuffer(vocabSize);
  const encoder = new TextEncoder();
  const documentEnds: number[] = [];
  const documentHashes: number[] = [];
  // Token and byte counts after every piece, for bytesBefore.
  let marks: { tokens: number[]; bytes: number[] } = { tokens: [0], bytes: [0] };
  const whole = new IntegerHash().addText(tokenizer.fingerprint);
  let bytes = 0;
  let skipped = 0;
  let start = { tokens: 0, bytes: 0, marks: 1 };
  let hash = new IntegerHash();

  const append = (ids: ArrayLike<number>): void => {
    hash.addAll(ids);
    tokens.append(ids);
  };
  return {
    addText(text: string): void {
      if (text === '') return;
      if (bosId !== undefined && tokens.length === start.tokens) append([bosId]);
      append(tokenizer.encode(text));
      bytes += encoder.encode(text).length;
      marks.tokens.push(tokens.length);
      marks.bytes.push(bytes);
    },
    endDocument(): void {
      if (eosId !== undefined && tokens.length > start.tokens) {
        append([eosId]);
        marks.tokens[marks.tokens.length - 1] = tokens.length;
      }
      if (tokens.length - start.tokens < 2) {
        tokens.truncate(start.tokens);
        bytes = start.bytes;
        marks.tokens.length = start.marks;
        marks.bytes.length = start.marks;
        skipped++;
      } else {
        const words = hash.words();
        documentEnds.push(tokens.length);
        documentHashes.push(words[0], words[1]);
        whole.addInteger(tokens.length - start.tokens).addAll(words);
      }
      start = { tokens: tokens.length, bytes, marks: marks.tokens.length };
      hash = new IntegerHash();
    },
    progress: (): TokenizeProgress => ({ documents: documentEnds.length, tokens: tokens.length, bytes }),
    finish(): TokenStore {
      const { tokens: markTokens, bytes: markBytes } = marks;
      marks = { tokens: [], bytes: [] };
      return {
        length: tokens.length,
        documents: documentEnds.length,
        skipped,
        bytes,
        vocabSize,
        fingerprint: whole.hex(),
        documentEnds,
        documentHashes,
        read: (from, count, out, at) => tokens.read(from, count, out, at),
        bytesBefore(end) {
          const next = firstAbove(markTokens, end - 1);
          if (next === 0 || markTokens[next] === end) return markBytes[next]!;
          const share = (end - markTokens[next - 1]!) / (markTokens[next]! - markTokens[next - 1]!);
          return markBytes[next - 1]! + Math.round(share * (markBytes[next]! - markBytes[next - 1]!));
        },
      };
    },
  };
}

/** Index of the first of the ascending `values` that is above `value`; their number if none is. @internal */
export function firstAbove(values: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
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
