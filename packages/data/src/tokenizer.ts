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
  readonly padId?: number;
  /** Whether the tokenizer's own rules put bosId before a text (its post-processor, or `add_bos_token`). */
  readonly addsBos: boolean;
  /** Differs between tokenisers that give different ids. */
  readonly fingerprint: string;
  /** The ids of the text alone: no bosId, no eosId. */
  encode(text: string): Int32Array;
  /** Special tokens give no text. @throws DataError (TOKENIZER) for an id outside the vocabulary */
  decode(ids: ArrayLike<number>): string;
  /** For text that arrives token by token. */
  decoder(): StreamDecoder;
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

export interface ByteTokenizerJSON {
  readonly kind: 'bytes';
  readonly documentSeparator: boolean;
}

export interface HuggingFaceTokenizerJSON {
  readonly kind: 'tokenizer.json';
  readonly name: string;
  /** The parsed tokenizer.json. */
  readonly tokenizer: object;
  /** The parsed tokenizer_config.json, or null. */
  readonly config: object | null;
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  readonly padToken: string | null;
}

export type TokenizerJSON = ByteTokenizerJSON | HuggingFaceTokenizerJSON;

/** @internal */
export function requireId(tokenizer: string, id: number, vocabSize: number): void {
  if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
    throw new DataError('TOKENIZER', `${tokenizer}: token id ${String(id)} is outside the vocabulary of ${vocabSize}`);
  }
}
