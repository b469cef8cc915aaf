/* A thread that tokenises for `writeTokenStore`. */
import { parentPort, workerData } from 'node:worker_threads';
import { DataError, messageOf } from '../errors.ts';
import { PIECE, withTimeLimit } from '../time-limit.ts';
import { tokenizerFromJSON } from '../tokenizer-json.ts';
import type { Encoded, Failed, Texts, ThreadData } from './tokenize-messages.ts';

const tokenizer = tokenizerFromJSON((workerData as ThreadData).tokenizer);

parentPort?.on('message', ({ texts }: Texts) => {
  try {
    const answer = encodeAll(texts);
    parentPort?.postMessage(answer, [answer.ids.buffer, answer.counts.buffer, answer.bytes.buffer]);
  } catch (error) {
    const { code, message } = error instanceof DataError ? error : new DataError('TOKENIZER', messageOf(error));
    parentPort?.postMessage({ code, message } satisfies Failed);
  }
});

function encodeAll(texts: readonly string[]): Encoded {
  // One limit for many short documents, since each costs a tenth of a millisecond.
  const parts = withTimeLimit(tokenizer.name, PIECE, () => texts.map((text) => tokenizer.encode(text)));
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  const ids = tokenizer.vocabSize <= 2 ** 16 ? new Uint16Array(total) : new Uint32Array(total);
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  return {
    ids,
    counts: Uint32Array.from(parts, (part) => part.length),
    bytes: Uint32Array.from(texts, (text) => Buffer.byteLength(text)),
  };
}
