/** A stretch of one document's text. The pieces of a document follow one another; `last` ends it. */
export interface Piece {
  readonly text: string;
  readonly last: boolean;
}

/** A stream of documents that can be read as often as needed, each time the same. */
export interface Corpus {
  /** For people. */
  readonly name: string;
  readonly kind: 'text' | 'jsonl' | 'parquet' | 'folder' | 'memory';
  /** True when it can hold one document only: it then needs no document separator. */
  readonly singleDocument: boolean;
  pieces(): AsyncIterable<Piece>;
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
