import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Piece, ReadOptions } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';
import { firstBytes, statOf } from './file.ts';
import type { Answer, ParquetRow, Question } from './parquet-messages.ts';

/**
 * Seconds without a page after which a file counts as damaged: those that every page has, and bytes for which there is one
 * more, since a page may be a whole row group. Both are a hundred times what a page takes.
 */
const PATIENCE = 6;
const BYTES_PER_SECOND = 2 ** 23;

/** Megabytes that the process may fill with objects. */
const MEMORY = 4096;

/** From source, as tests run it, the program that was built: Node 20 runs no TypeScript. */
const PROGRAM = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../dist/read/parquet-process.js' : './parquet-process.js',
    import.meta.url,
  ),
);

/**
 * Reads the footer alone.
 * @throws DataError (DATA_FORMAT) for a damaged file, (DATA_COLUMN) when it has no column of that name
 */
export async function checkParquet(path: string, column: string): Promise<void> {
  const reader = await startReader(path, {});
  try {
    await reader.ask({ kind: 'open', path, column }, 'its footer', PATIENCE);
  } finally {
    await reader.stop();
  }
}

/** One document per row, one row group in memory at a time. A null is an empty document. */
export async function* parquetPieces(path: string, column: string, options: ReadOptions): AsyncGenerator<Piece> {
  for await (const read of groupsOf(path, column, options)) {
    for (const text of read.kind === 'texts' ? read.texts : []) yield { text: text ?? '', last: true };
  }
}

/**
 * All rows of a parquet file with all their columns, as values of JavaScript (64-bit integers are bigints). Read in a process that is
 * ended when the file makes it loop, as texts are.
 * @throws DataError (DATA_FORMAT, DATA_NOT_TEXT) for a damaged file, (DATA_READ) for one that cannot be read
 */
export async function readParquetRows(path: string, options: ReadOptions = {}): Promise<ParquetRow[]> {
  const rows: ParquetRow[] = [];
  for await (const read of groupsOf(path, null, options)) {
    for (const row of read.kind === 'rows' ? read.rows : []) rows.push(row);
  }
  return rows;
}

/** What stands in each row group, of one column or of all (null). */
async function* groupsOf(path: string, column: string | null, options: ReadOptions): AsyncGenerator<Answer> {
  const reader = await startReader(path, options);
  try {
    const opened = await reader.ask({ kind: 'open', path, column }, 'its footer', PATIENCE);
    const groups = opened.kind === 'opened' ? opened.groups : [];
    // Of a file with other columns, the share of this one's bytes stands for the share of the file.
    const share = (await statOf(path)).size / groups.reduce((sum, { bytes }) => sum + bytes, 0);
    let rowStart = 0;
    let bytesDone = 0;
    for (const [group, { rows, bytes }] of groups.entries()) {
      const seconds = PATIENCE + Math.floor(bytes / BYTES_PER_SECOND);
      yield await reader.ask({ kind: 'read', group, rowStart, rows }, `row group ${group}`, seconds);
      rowStart += rows;
      bytesDone += bytes;
      options.onRead?.(Math.round(bytesDone * share));
    }
  } finally {
    await reader.stop();
  }
}

interface Reader {
  /** @throws DataError as the process gave it, or (DATA_FORMAT) when it dies or does not answer in time; the signal's reason */
  ask(question: Question, part: string, seconds: number): Promise<Answer>;
  /** Gives the process back. */
  stop(): Promise<void>;
}

/** A process without a file: starting one takes longer than reading a small file, and folders have many. */
let idle: ChildProcess | null = null;

function takeProcess(): ChildProcess {
  const waiting = idle;
  idle = null;
  if (waiting !== null) {
    hold(waiting, true);
    return waiting;
  }
  const child = fork(PROGRAM, [], {
    // Not the arguments of this process, which may be meant for its own program.
    execArgv: [`--max-old-space-size=${MEMORY}`],
    serialization: 'advanced',
    // What V8 prints as it aborts is no message for a reader of a damaged file.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  // Of one that waits; who asks listens too.
  child.on('error', () => {});
  // One that is in an endless loop does not see that it is left alone.
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  child.on('exit', () => {
    process.off('exit', end);
    if (idle === child) idle = null;
  });
  return child;
}

/** Whether this process lives as long as `child`. */
function hold(child: ChildProcess, on: boolean): void {
  if (on) child.ref();
  else child.unref();
  if (on) child.channel?.ref();
  else child.channel?.unref();
}

async function startReader(path: string, { signal }: ReadOptions): Promise<Reader> {
  // Refuses what is no file, with its reason.
  await firstBytes(path, 1);
  const child = takeProcess();
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
        const died = () => fail('the process that read it died; the file is damaged');
        const settle = (done: () => void, answers = false) => {
          free = answers;
          clearTimeout(timer);
          signal?.removeEventListener('abort', aborted);
          child.off('message', answered).off('error', failed).off('exit', died);
          done();
        };
        const answered = (answer: Answer) => {
          if (answer.kind === 'alive') {
            clearTimeout(timer);
            timer = setTimeout(late, seconds * 1000);
          } else if (answer.kind === 'failed') settle(() => reject(new DataError(answer.code, answer.message)), true);
          else settle(() => resolve(answer), true);
        };
        child.on('message', answered).on('error', failed).on('exit', died);
        signal?.addEventListener('abort', aborted);
        free = false;
        if (signal?.aborted) settle(() => reject(signal.reason), true);
        else child.send(question);
      }),
    async stop() {
      const alive = child.exitCode === null && child.signalCode === null;
      if (!alive) return;
      if (free && idle === null && child.connected) {
        hold(child, false);
        idle = child;
        return;
      }
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
}
