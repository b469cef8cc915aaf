/** A stretch of one document's text. The pieces of a document follow one another; `last` ends it. */
export interface Piece {
  /** What comes next of it; may be empty. */
  readonly text: string;
  /** True for the last piece of the document. */
  readonly last: boolean;
}

/** What reading a corpus takes. */
export interface ReadOptions {
  /** Stops the reading: it throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told how many bytes of the source, as it is stored, have been read so far. */
  readonly onRead?: (bytes: number) => void;
}

/** A part of a corpus that can be read alone: a file. Documents end where parts do. */
export interface CorpusPart {
  /** Of the file, relative to the corpus, with '/'. */
  readonly name: string;
  /** Bytes as they are stored; null where nobody knows before it is read. */
  readonly size: number | null;
  /** Another after the content was changed: size and time of the file. null where there is no such thing. */
  readonly stamp: string | null;
  /** Its documents from the first on. */
  pieces(options?: ReadOptions): AsyncIterable<Piece>;
}

/** A stream of documents that can be read as often as needed, each time the same. */
export interface Corpus {
  /** For people. */
  readonly name: string;
  /** What it is read from. */
  readonly kind: 'text' | 'jsonl' | 'parquet' | 'folder' | 'memory' | 'store';
  /** True when it can hold one document only: it then needs no document separator. */
  readonly singleDocument: boolean;
  /** Its documents from the first on. A corpus that waits for nothing long may ignore the signal. */
  pieces(options?: ReadOptions): AsyncIterable<Piece>;
  /** The same in parts, in order, for work that goes on where it was; a corpus without is one part. */
  readonly parts?: readonly CorpusPart[];
}

/** Documents that are in memory already. */
export function textCorpus(name: string, documents: readonly string[]): Corpus {
  return {
    name,
    kind: 'memory',
    singleDocument: documents.length === 1,
    async *pieces() {
      for (const text of documents) yield { text, last: true };
    },
  };
}
