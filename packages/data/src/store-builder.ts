import { IntegerHash } from './hash.ts';
import type { Tokenizer } from './tokenizer.ts';

/** How far `tokenizeCorpus` has come. */
export interface TokenizeProgress {
  /** Documents that are complete. */
  readonly documents: number;
  /** Tokens so far. */
  readonly tokens: number;
  /** Bytes of their text in UTF-8. */
  readonly bytes: number;
}

/** Where a store's parts go as they are made. Nothing that was given is taken back. */
export interface StoreSink {
  /** The next tokens. */
  addTokens(ids: ArrayLike<number>): void;
  /** The text of all tokens before `tokens` has `bytes` bytes. */
  addMark(tokens: number, bytes: number): void;
  /** A document ends before token `end`; two words of its hash. */
  addDocument(end: number, high: number, low: number): void;
}

/** All of a builder's state, as JSON. */
export interface BuilderState {
  /** Tokens, bytes and documents that went to the sink, and documents that were left out. */
  readonly tokens: number;
  readonly bytes: number;
  readonly documents: number;
  readonly skipped: number;
  /** Of the hash over everything, and of the one over the document that has begun. */
  readonly whole: readonly number[];
  readonly hash: readonly number[];
  /** Of that document: its tokens and bytes so far, and what is held back of them. */
  readonly begun: {
    readonly tokens: number;
    readonly bytes: number;
    readonly ids: readonly number[];
    readonly marks: readonly (readonly [tokens: number, bytes: number])[];
  };
}

/**
 * Frames documents, counts and hashes. A document goes to the sink once it has two tokens; one that never has is left out.
 * Its last mark waits for its end, since the closing token belongs to it.
 */
export function storeBuilder(tokenizer: Tokenizer, sink: StoreSink, state?: BuilderState) {
  const { bosId, eosId } = tokenizer;
  let { tokens, bytes, documents, skipped } = state ?? { tokens: 0, bytes: 0, documents: 0, skipped: 0 };
  const whole = state === undefined ? new IntegerHash().addText(tokenizer.fingerprint) : new IntegerHash(state.whole);
  let hash = new IntegerHash(state?.hash);
  let begun = copyBegun(state?.begun ?? NOTHING);

  const append = (ids: ArrayLike<number>): void => {
    hash.addAll(ids);
    begun.tokens += ids.length;
    if (begun.tokens < 2) {
      begun.ids.push(...Array.from(ids));
      return;
    }
    if (begun.ids.length > 0) sink.addTokens(begun.ids);
    begun.ids.length = 0;
    sink.addTokens(ids);
  };
  const flushMarks = (keep: number): void => {
    for (const [markTokens, markBytes] of begun.marks.splice(0, begun.marks.length - keep)) {
      sink.addMark(markTokens, markBytes);
    }
  };
  return {
    /** The ids of a stretch of the document's text, which has `length` bytes and is not empty. */
    addPiece(ids: ArrayLike<number>, length: number): void {
      if (bosId !== undefined && begun.tokens === 0) append([bosId]);
      append(ids);
      begun.bytes += length;
      begun.marks.push([tokens + begun.tokens, bytes + begun.bytes]);
      if (begun.tokens >= 2) flushMarks(1);
    },
    endDocument(): void {
      if (eosId !== undefined && begun.tokens > 0) append([eosId]);
      if (begun.tokens < 2) {
        skipped++;
      } else {
        const last = begun.marks.at(-1);
        if (last !== undefined) last[0] = tokens + begun.tokens;
        flushMarks(0);
        tokens += begun.tokens;
        bytes += begun.bytes;
        documents++;
        const words = hash.words();
        sink.addDocument(tokens, words[0], words[1]);
        whole.addInteger(begun.tokens).addAll(words);
      }
      begun = copyBegun(NOTHING);
      hash = new IntegerHash();
    },
    progress: (): TokenizeProgress => ({ documents, tokens: tokens + begun.tokens, bytes: bytes + begun.bytes }),
    state: (): BuilderState => ({
      ...{ tokens, bytes, documents, skipped },
      ...{ whole: whole.state(), hash: hash.state(), begun: copyBegun(begun) },
    }),
    /** Of every token, document boundary and the tokeniser so far. */
    fingerprint: (): string => whole.hex(),
  };
}

const NOTHING: BuilderState['begun'] = { tokens: 0, bytes: 0, ids: [], marks: [] };

function copyBegun({ tokens, bytes, ids, marks }: BuilderState['begun']) {
  return { tokens, bytes, ids: [...ids], marks: marks.map(([t, b]): [number, number] => [t, b]) };
}

/** `TokenStore.bytesBefore` over the marks of a store, which begin with a mark at 0. */
export function bytesBefore(marks: { readonly tokens: ArrayLike<number>; readonly bytes: ArrayLike<number> }) {
  const { tokens, bytes } = marks;
  return (end: number): number => {
    const next = firstAbove(tokens, end - 1);
    if (next === 0 || tokens[next] === end) return bytes[next]!;
    const share = (end - tokens[next - 1]!) / (tokens[next]! - tokens[next - 1]!);
    return bytes[next - 1]! + Math.round(share * (bytes[next]! - bytes[next - 1]!));
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
