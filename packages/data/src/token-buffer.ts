const CHUNK_BITS = 20;
const CHUNK = 1 << CHUNK_BITS;

type Chunk = Uint8Array | Uint16Array | Int32Array;

/**
 * A growing list of token ids in chunks of the narrowest type that holds the vocabulary. It never moves what it has, so growth
 * costs no second copy of a large corpus.
 */
export class TokenBuffer {
  #chunks: Chunk[] = [];
  #length = 0;
  readonly #newChunk: () => Chunk;

  constructor(vocabSize: number) {
    this.#newChunk =
      vocabSize <= 1 << 8
        ? () => new Uint8Array(CHUNK)
        : vocabSize <= 1 << 16
          ? () => new Uint16Array(CHUNK)
          : () => new Int32Array(CHUNK);
  }

  get length(): number {
    return this.#length;
  }

  append(ids: ArrayLike<number>): void {
    let from = 0;
    while (from < ids.length) {
      const within = this.#length % CHUNK;
      if (within === 0) this.#chunks.push(this.#newChunk());
      const chunk = this.#chunks[this.#chunks.length - 1]!;
      const count = Math.min(CHUNK - within, ids.length - from);
      for (let i = 0; i < count; i++) chunk[within + i] = ids[from + i]!;
      from += count;
      this.#length += count;
    }
  }

  /** Copies tokens [start, start + count) to out[at...]. The caller has checked the range. */
  read(start: number, count: number, out: Int32Array, at: number): void {
    let done = 0;
    while (done < count) {
      const within = (start + done) % CHUNK;
      const part = Math.min(CHUNK - within, count - done);
      const chunk = this.#chunks[Math.floor((start + done) / CHUNK)]!;
      out.set(chunk.subarray(within, within + part), at + done);
      done += part;
    }
  }
}
