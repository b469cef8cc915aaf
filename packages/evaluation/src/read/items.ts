import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readParquetRows } from '@lazy-attention/data';
import { EvaluationError } from '../errors.ts';
import type { Doc, Task } from '../tasks/task.ts';

/** The items of a task, and where they were found. */
export interface FoundItems {
  /** Of the file. */
  readonly path: string;
  /** That the items belong to. */
  readonly split: string;
  /** The items, as they stand there. */
  readonly docs: readonly Doc[];
}

const ENDINGS = ['jsonl', 'parquet'] as const;

/**
 * The items of a task below `folder`, laid out as `<folder>/<task>/<split>.jsonl` or `.parquet`, rows as the hub has them.
 * @throws EvaluationError (TASK) where there are none, naming what was looked for; (ITEM) for a line that is no object
 */
export async function findItems(
  folder: string,
  task: Task,
  splits: readonly string[] = task.splits,
): Promise<FoundItems> {
  const found = await findOptionalItems(folder, task, splits);
  if (found !== null) return found;
  const tried = candidates(folder, task, splits).map(({ path }) => path);
  throw new EvaluationError(
    'TASK',
    `benchmark: no items of ${task.name}; looked for ${tried.join(', ')}; put them there, or name their folder with --data`,
  );
}

/** As `findItems`, null where there are none. */
export async function findOptionalItems(
  folder: string,
  task: Task,
  splits: readonly string[],
): Promise<FoundItems | null> {
  for (const { path, split } of candidates(folder, task, splits)) {
    const there = await stat(path).then(
      (stats) => stats.isFile(),
      () => false,
    );
    if (there) return { path, split, docs: (await readItems(path)).map((doc) => task.prepare?.(doc) ?? doc) };
  }
  return null;
}

function candidates(folder: string, { name, folder: own = name }: Task, splits: readonly string[]) {
  return splits.flatMap((split) =>
    [...new Set([own, name])].flatMap((place) =>
      ENDINGS.map((ending) => ({ split, path: join(folder, place, `${split}.${ending}`) })),
    ),
  );
}

/**
 * All rows of a JSONL or parquet file.
 * @throws EvaluationError (ITEM) for a line that is no JSON object, (TASK) for a file that cannot be read
 */
export async function readItems(path: string): Promise<readonly Doc[]> {
  try {
    return path.endsWith('.parquet') ? await readParquetRows(path) : parseLines(path, textOf(await readFile(path)));
  } catch (error) {
    if (error instanceof EvaluationError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new EvaluationError('TASK', `benchmark: ${path} cannot be read: ${reason}`, { cause: error });
  }
}

/** @throws TypeError for bytes that are no UTF-8: nothing is replaced, as no other reader does */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function parseLines(path: string, content: string): Doc[] {
  const docs: Doc[] = [];
  for (const [i, line] of content.split('\n').entries()) {
    if (line.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new EvaluationError('ITEM', `benchmark: line ${i + 1} of ${path} is not JSON`, { cause });
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new EvaluationError('ITEM', `benchmark: line ${i + 1} of ${path} is no JSON object`);
    }
    docs.push(value as Doc);
  }
  return docs;
}
