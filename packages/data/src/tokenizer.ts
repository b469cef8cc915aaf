import { DataError } from './errors.ts';

/** Text to token ids and back. All of it is a pure function of `toJSON()`. */
export interface Tokenizer {
  /** For people: `bytes`, or the name of the file. */
  readonly name: string;
  /** Every id is below it: the height of an embedding that fits. */
  readonly vocabSize: number;
  /** Put before every document of a corpus. */
  readonly bosId?: number;
  /** Put after every document of a corpus. */
  readonly eosId?: number;
  /** Stands where there is no token. */
  readonly padId?: number;
  /** Whether the tokenizer's own rules put bosId before a text (its post-processor, or `add_bos_token`). */
  readonly addsBos: boolean;
  /** Differs between tokenisers that give different ids. */
  readonly fingerprint: string;
  /** The ids of the text alone: no bosId, no eosId. */
  encode(text: string): Int32Array;
  /** Special tokens give no text. @throws DataError (TOKENIZER) for an id outside the vocabulary */
  decode(ids: ArrayLike<number>): string;
  /**
   * For text that arrives token by token. `behind` are the ids that come before it, such as a prompt: many tokenisers
   * leave out the space of the first token of a text, and only of that one.
   */
  decoder(behind?: ArrayLike<number>): StreamDecoder;
  /** All that `tokenizerFromJSON` needs to make it again: what belongs into a checkpoint. */
  toJSON(): TokenizerJSON;
}

/** Gives text as soon as it is whole, so that a character of several tokens is never shown by halves. */
export interface StreamDecoder {
  /** The text that this id completes; often one word, sometimes ''. */
  push(id: number): string;
  /** What is left, with U+FFFD for a character that never became whole. The decoder is then as new. */
  flush(): string;
}

/** `Tokenizer.toJSON` of a byte tokeniser. */
export interface ByteTokenizerJSON {
  /** Tells the two apart. */
  readonly kind: 'bytes';
  /** As in `ByteTokenizerOptions`. */
  readonly documentSeparator: boolean | 'before' | 'after';
}

/** `Tokenizer.toJSON` of a tokenizer.json, with the choices that were made for it. */
export interface HuggingFaceTokenizerJSON {
  /** Tells the two apart. */
  readonly kind: 'tokenizer.json';
  /** For messages. */
  readonly name: string;
  /** The parsed tokenizer.json. */
  readonly tokenizer: object;
  /** The parsed tokenizer_config.json, or null. */
  readonly config: object | null;
  /** Token put before every document; null for none. */
  readonly bosToken: string | null;
  /** Token put after every document; null for none. */
  readonly eosToken: string | null;
  /** Token that stands where there is none; null for none. */
  readonly padToken: string | null;
}

/** What `tokenizerFromJSON` takes. */
export type TokenizerJSON = ByteTokenizerJSON | HuggingFaceTokenizerJSON;

/** @internal */
export function requireId(tokenizer: string, id: number, vocabSize: number): void {
  if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
    throw new DataError('TOKENIZER', `${tokenizer}: token id ${String(id)} is outside the vocabulary of ${vocabSize}`);
  }
}
