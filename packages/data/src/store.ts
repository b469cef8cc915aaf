import { checkOptions } from '@lazy-attention/core';
import type { Corpus } from './corpus.ts';
import { DataError } from './errors.ts';
import { IntegerHash } from './hash.ts';
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

export interface TokenizeProgress {
  readonly documents: number;
  readonly tokens: number;
  readonly bytes: number;
}

export interface TokenizeOptions {
  /** Called after about every megabyte of text and once at the end. */
  readonly onProgress?: (progress: TokenizeProgress) => void;
  /** Stops the work: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** UTF-16 code units that a tokeniser gets at a time. */
const PIECE = 1 << 16;
/** How far back from the end of a piece a good place to cut is looked for. */
const CUT_SEARCH = 1 << 12;
const PROGRESS_BYTES = 1 << 20;

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
  const builder = storeBuilder(tokenizer);
  let pending = '';
  let reported = 0;
  for await (const { text, last } of corpus.pieces()) {
    options.signal?.throwIfAborted();
    pending += text;
    while (pending.length > PIECE) {
      const cut = cutPosition(pending);
      builder.addText(pending.slice(0, cut));
      pending = pending.slice(cut);
    }
    if (last) {
      builder.addText(pending);
      builder.endDocument();
      pending = '';
    }
    const progress = builder.progress();
    if (progress.bytes - reported >= PROGRESS_BYTES) {
      reported = progress.bytes;
      options.onProgress?.(progress);
      // Let timers and signals in: a corpus in memory would otherwise hold the thread to its end.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  const store = builder.finish();
  options.onProgress?.({ documents: store.documents, tokens: store.length, bytes: store.bytes });
  if (store.documents === 0) {
    throw new DataError(
      'DATA_EMPTY',
      `${corpus.name}: no text in it (${store.skipped} documents have none or fewer than two tokens)`,
    );
  }
  return store;
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
