import type { DataErrorCode } from '../errors.ts';
import type { TokenizerJSON } from '../tokenizer.ts';

/** What a tokenising thread starts with. */
export interface ThreadData {
  readonly tokenizer: TokenizerJSON;
}

/** A group of texts to tokenise, answered by one `Encoded` or one `Failed`, in order. */
export interface Texts {
  readonly texts: readonly string[];
  /** Memory of an earlier answer, for this one. */
  readonly spare: ArrayBuffer | null;
}

/** The ids of all texts after one another, with how many ids and UTF-8 bytes each text has: all in one buffer. */
export interface Encoded {
  readonly ids: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  readonly counts: Uint32Array<ArrayBuffer>;
  readonly bytes: Uint32Array<ArrayBuffer>;
}

/** A `DataError`, in words: errors lose their class between threads. */
export interface Failed {
  readonly code: DataErrorCode;
  readonly message: string;
}
