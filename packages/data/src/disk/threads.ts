import { Worker } from 'node:worker_threads';
import { DataError, messageOf } from '../errors.ts';
import type { Tokenizer } from '../tokenizer.ts';
import type { Encoded, Failed, Texts, ThreadData } from './tokenize-messages.ts';

/** From source, as tests run it, the thread that was built: Node 20 runs no TypeScript. */
const THREAD = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/disk/tokenize-worker.js' : './tokenize-worker.js',
  import.meta.url,
);

/** Threads that tokenise. */
export interface TokenizeThreads {
  /** By the thread with the least to do. @throws DataError as the tokeniser gave it */
  encode(texts: readonly string[]): Promise<Encoded>;
  /** Takes the memory of an answer back, which nobody reads any more. */
  recycle(answer: Encoded): void;
  stop(): Promise<void>;
}

interface Waiting {
  resolve(answer: Encoded): void;
  reject(error: unknown): void;
}

/** Starts `count` threads, each with the tokeniser made anew from its JSON. */
export function startThreads(tokenizer: Tokenizer, count: number): TokenizeThreads {
  const data: ThreadData = { tokenizer: tokenizer.toJSON() };
  const spares: ArrayBuffer[] = [];
  const threads = Array.from({ length: count }, () => {
    // A small young generation: what a thread makes is short-lived, and its room would only stay taken.
    const worker = new Worker(THREAD, {
      workerData: data,
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    // Answers come in the order of the questions.
    const waiting: Waiting[] = [];
    let broken: unknown = null;
    worker.on('message', (answer: Encoded | Failed) => {
      const next = waiting.shift();
      if ('code' in answer) next?.reject(new DataError(answer.code, answer.message));
      else next?.resolve(answer);
    });
    const fail = (error: unknown) => {
      broken ??= new DataError('TOKENIZER', `${tokenizer.name}: a tokenising thread ended: ${messageOf(error)}`, {
        cause: error,
      });
      for (const { reject } of waiting.splice(0)) reject(broken);
    };
    worker.on('error', fail).on('exit', () => fail('it was stopped'));
    return {
      load: () => waiting.length,
      encode: (texts: readonly string[]) =>
        new Promise<Encoded>((resolve, reject) => {
          if (broken !== null) return void reject(broken);
          waiting.push({ resolve, reject });
          const spare = spares.pop() ?? null;
          worker.postMessage({ texts, spare } satisfies Texts, spare === null ? [] : [spare]);
        }),
      stop: () => worker.terminate(),
    };
  });
  return {
    encode: (texts) => threads.reduce((a, b) => (b.load() < a.load() ? b : a)).encode(texts),
    recycle: ({ ids }) => void spares.push(ids.buffer),
    async stop() {
      await Promise.all(threads.map(({ stop }) => stop()));
    },
  };
}
