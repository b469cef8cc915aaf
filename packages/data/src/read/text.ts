import type { Piece, ReadOptions } from '../corpus.ts';
import { fileChunks } from './file.ts';
import { decodeUtf8 } from './utf8.ts';

/** One file as one document. */
export async function* textPieces(path: string, options: ReadOptions): AsyncGenerator<Piece> {
  for await (const text of decodeUtf8(path, fileChunks(path, options))) yield { text, last: false };
  yield { text: '', last: true };
}
