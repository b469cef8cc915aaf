import { requireId, type StreamDecoder, type Tokenizer } from './tokenizer.ts';

/** What `byteTokenizer` takes. */
export interface ByteTokenizerOptions {
  /**
   * Adds id 256, put before and after every document. A model needs it to learn where documents end and to start one
   * from nothing; a corpus of one document has no use for it. 'before' and 'after' put it there alone. Default false.
   */
  readonly documentSeparator?: boolean | 'before' | 'after';
}

const SEPARATOR = 256;

/**
 * The 256 byte values of UTF-8. Nothing is out of vocabulary; a bit per byte of loss is a bit per token. A lone
 * surrogate, which UTF-8 cannot express, becomes U+FFFD.
 */
export function byteTokenizer(options: ByteTokenizerOptions = {}): Tokenizer {
  const documentSeparator = options.documentSeparator ?? false;
  const vocabSize = documentSeparator ? SEPARATOR + 1 : SEPARATOR;
  const before = documentSeparator !== false && documentSeparator !== 'after';
  const after = documentSeparator !== false && documentSeparator !== 'before';
  const encoder = new TextEncoder();
  const tokenizer: Omit<Tokenizer, 'bosId' | 'eosId'> = {
    name: 'bytes',
    vocabSize,
    fingerprint: before === after ? `bytes-${vocabSize}` : `bytes-${vocabSize}-${String(documentSeparator)}`,
    addsBos: before,
    encode: (text) => new Int32Array(encoder.encode(text)),
    decode(ids) {
      const decoder = byteDecoder(vocabSize);
      let text = '';
      for (let i = 0; i < ids.length; i++) text += decoder.push(ids[i]!);
      return text + decoder.flush();
    },
    decoder(behind = []) {
      const decoder = byteDecoder(vocabSize);
      // Its last character may be half of one.
      for (let i = Math.max(0, behind.length - 3); i < behind.length; i++) decoder.push(behind[i]!);
      return decoder;
    },
    toJSON: () => ({ kind: 'bytes', documentSeparator }),
  };
  return { ...tokenizer, ...(before && { bosId: SEPARATOR }), ...(after && { eosId: SEPARATOR }) };
}

function byteDecoder(vocabSize: number): StreamDecoder {
  // ignoreBOM: a byte order mark is a character like any other here, else decode(encode(text)) would lose it.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const byte = new Uint8Array(1);
  return {
    push(id) {
      requireId('bytes', id, vocabSize);
      if (id === SEPARATOR) return decoder.decode();
      byte[0] = id;
      return decoder.decode(byte, { stream: true });
    },
    flush: () => decoder.decode(),
  };
}
