import type { Piece } from '../corpus.ts';
import { decodeUtf8 } from './utf8.ts';

/** The bytes of a file as one document; `name` is for messages. */
export async function* textPieces(name: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  for await (const text of decodeUtf8(name, chunks)) yield { text, last: false };
  yield { text: '', last: true };
}
