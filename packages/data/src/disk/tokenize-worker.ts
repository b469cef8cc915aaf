/* A thread that tokenises for `writeTokenStore`. */
import { parentPort, workerData } from 'node:worker_threads';
import { DataError, messageOf } from '../errors.ts';
import { PIECE, withTimeLimit } from '../time-limit.ts';
import { tokenizerFromJSON } from '../tokenizer-json.ts';
import type { Encoded, Failed, Texts, ThreadData } from './tokenize-messages.ts';

const tokenizer = tokenizerFromJSON((workerData as ThreadData).tokenizer);

parentPort?.on('message', ({ texts, spare }: Texts) => {
  try {
    const answer = encodeAll(texts, spare);
    parentPort?.postMessage(answer, [answer.ids.buffer]);
  } catch (error) {
    const { code, message } = error instanceof DataError ? error : new DataError('TOKENIZER', messageOf(error));
    parentPort?.postMessage({ code, message } satisfies Failed);
  }
});

function encodeAll(texts: readonly string[], spare: ArrayBuffer | null): Encoded {
  // One limit for many short documents, since each costs a tenth of a millisecond.
  const parts = withTimeLimit(tokenizer.name, PIECE, () => texts.map((text) => tokenizer.encode(text)));
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  const width = tokenizer.vocabSize <= 2 ** 16 ? 2 : 4;
  const count = texts.length;
  const size = 8 * count + width * total;
  // Buffers that go to and fro are no garbage; with a quarter more, most fit the next group too.
  const buffer = spare !== null && spare.byteLength >= size ? spare : new ArrayBuffer(Math.ceil(1.25 * size));
  const counts = new Uint32Array(buffer, 0, count);
  const bytes = new Uint32Array(buffer, 4 * count, count);
  const ids = width === 2 ? new Uint16Array(buffer, 8 * count, total) : new Uint32Array(buffer, 8 * count, total);
  let at = 0;
  for (const [i, part] of parts.entries()) {
    counts[i] = part.length;
    bytes[i] = Buffer.byteLength(texts[i] as string);
    ids.set(part, at);
    at += part.length;
  }
  return { ids, counts, bytes };
}
