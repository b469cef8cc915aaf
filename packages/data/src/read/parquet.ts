import { Worker } from 'node:worker_threads';
import type { Piece, ReadOptions } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';
import { firstBytes, statOf } from './file.ts';
import type { Answer, Question } from './parquet-messages.ts';

/**
 * Seconds without a page after which a file counts as damaged: those that every page has, and bytes for which there is one
 * more, since a page may be a whole row group. Both are a hundred times what a page takes.
 */
const PATIENCE = 6;
const BYTES_PER_SECOND = 2 ** 23;

/** Megabytes that the thread may fill, so that a damaged file ends it and not the process. */
const MEMORY = 4096;

/** From source, as tests run it, the thread that was built: Node 20 runs no TypeScript. */
const THREAD = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/read/parquet-worker.js' : './parquet-worker.js',
  import.meta.url,
);

/**
 * Reads the footer alone.
 * @throws DataError (DATA_FORMAT) for a damaged file, (DATA_COLUMN) when it has no column of that name
 */
export async function checkParquet(path: string, column: string): Promise<void> {
  const thread = await startThread(path, {});
  try {
    await thread.ask({ kind: 'open', path, column }, 'its footer', PATIENCE);
  } finally {
    await thread.stop();
  }
}

/** One document per row, one row group in memory at a time. A null is an empty document. */
export async function* parquetPieces(path: string, column: string, options: ReadOptions): AsyncGenerator<Piece> {
  const thread = await startThread(path, options);
  try {
    const opened = await thread.ask({ kind: 'open', path, column }, 'its footer', PATIENCE);
    const groups = opened.kind === 'opened' ? opened.groups : [];
    // Of a file with other columns, the share of this one's bytes stands for the share of the file.
    const share = (await statOf(path)).size / groups.reduce((sum, { bytes }) => sum + bytes, 0);
    let rowStart = 0;
    let bytesDone = 0;
    for (const [group, { rows, bytes }] of groups.entries()) {
      const seconds = PATIENCE + Math.floor(bytes / BYTES_PER_SECOND);
      const read = await thread.ask({ kind: 'read', group, rowStart, rows }, `row group ${group}`, seconds);
      for (const text of read.kind === 'texts' ? read.texts : []) yield { text: text ?? '', last: true };
      rowStart += rows;
      bytesDone += bytes;
      options.onRead?.(Math.round(bytesDone * share));
    }
  } finally {
    await thread.stop();
  }
}

interface ReadingThread {
  /** @throws DataError as the thread gave it, or (DATA_FORMAT) when it does not answer in time; the signal's reason */
  ask(question: Question, part: string, seconds: number): Promise<Answer>;
  /** Gives the thread back. */
  stop(): Promise<void>;
}

/** A thread without a file: starting one takes longer than reading a small file, and folders have many. */
let idle: Worker | null = null;

function takeThread(): Worker {
  const waiting = idle;
  idle = null;
  if (waiting !== null) {
    waiting.ref();
    return waiting;
  }
  // Not the arguments of this process, which may be meant for its own program.
  const worker = new Worker(THREAD, { execArgv: [], resourceLimits: { maxOldGenerationSizeMb: MEMORY } });
  worker.on('exit', () => {
    if (idle === worker) idle = null;
  });
  return worker;
}

async function startThread(path: string, { signal }: ReadOptions): Promise<ReadingThread> {
  // Refuses what is no file, with its reason.
  await firstBytes(path, 1);
  const worker = takeThread();
  // Whether it owes no answer: else it may be in an endless loop.
  let free = true;
  return {
    ask: (question, part, seconds) =>
      new Promise((resolve, reject) => {
        const fail = (what: string, cause?: unknown) =>
          settle(() =>
            reject(new DataError('DATA_FORMAT', `${path}: parquet: ${part} cannot be read: ${what}`, { cause })),
          );
        const late = () => fail(`nothing was read of it for ${seconds} s; the file is damaged`);
        let timer = setTimeout(late, seconds * 1000);
        const aborted = () => settle(() => reject(signal?.reason));
        const failed = (error: unknown) => fail(messageOf(error), error);
        const settle = (done: () => void, answers = false) => {
          free = answers;
          clearTimeout(timer);
          signal?.removeEventListener('abort', aborted);
          worker.off('message', answered).off('error', failed);
          done();
        };
        const answered = (answer: Answer) => {
          if (answer.kind === 'alive') {
            clearTimeout(timer);
            timer = setTimeout(late, seconds * 1000);
          } else if (answer.kind === 'failed') settle(() => reject(new DataError(answer.code, answer.message)), true);
          else settle(() => resolve(answer), true);
        };
        worker.on('message', answered).on('error', failed);
        signal?.addEventListener('abort', aborted);
        free = false;
        if (signal?.aborted) settle(() => reject(signal.reason), true);
        else worker.postMessage(question);
      }),
    async stop() {
      if (!free || idle !== null) return void (await worker.terminate());
      worker.unref();
      idle = worker;
    },
  };
}
