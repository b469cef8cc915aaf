import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { latestCheckpoint } from '@lazy-attention/nn/node';
import { RunError } from '../errors.ts';
import { makeFolder, readJson, reasonOf, writeNew, writeWhole } from './files.ts';
import { LOCK } from './lock.ts';
import type { RunRecord } from './record.ts';
import { checkRecord } from './schema.ts';
import { isTokenizerFile, loadedRecord, storedRecord } from './tokenizer-file.ts';

/** Paths of a run folder: run.json, metrics.jsonl, metrics.csv, tensorboard/, checkpoints/, best/, samples.jsonl, sample.txt, ... */
export interface RunFolder {
  /** Of the folder. */
  readonly path: string;
  /** Path of run.json. */
  readonly record: string;
  /** Path of metrics.jsonl. */
  readonly metrics: string;
  /** Path of metrics.csv, where it is asked for. */
  readonly csv: string;
  /** Path of the folder of TensorBoard's event files, where they are asked for. */
  readonly tensorboard: string;
  /** Path of the folder of the checkpoint with the lowest validation loss, where it is asked for. */
  readonly best: string;
  /** Path of the checkpoints' folder. */
  readonly checkpoints: string;
  /** Path of samples.jsonl, where it is asked for. */
  readonly samples: string;
  /** Path of sample.txt. */
  readonly sample: string;
  /** Path of summary.json. */
  readonly summary: string;
  /** Path of report.html. */
  readonly report: string;
}

/** The paths of a run in `path`. */
export function runFolder(path: string): RunFolder {
  const root = resolve(path);
  return {
    path: root,
    record: join(root, 'run.json'),
    metrics: join(root, 'metrics.jsonl'),
    csv: join(root, 'metrics.csv'),
    tensorboard: join(root, 'tensorboard'),
    best: join(root, 'best'),
    checkpoints: join(root, 'checkpoints'),
    samples: join(root, 'samples.jsonl'),
    sample: join(root, 'sample.txt'),
    summary: join(root, 'summary.json'),
    report: join(root, 'report.html'),
  };
}

/**
 * Makes the folder of a new run and writes its record. Refuses a folder that already holds anything.
 * @throws RunError RUN_EXISTS or RUN_WRITE
 */
export function createRun(path: string, record: RunRecord): RunFolder {
  checkOut('train', path);
  const folder = runFolder(path);
  refuseTaken('train', path, existsSync(folder.record), leftByKill);
  makeFolder(folder.path);
  // Of two that begin at once one makes the record.
  if (!writeRecord(folder, record)) throw alreadyRun('train', path);
  makeFolder(folder.checkpoints);
  return folder;
}

/** Writes run.json where there is none; false where there is one. */
export function writeRecord(folder: RunFolder, record: RunRecord): boolean {
  return writeNew(folder.record, textOf(folder, record));
}

/** Writes run.json anew, for a run that is to have more steps; whoever does holds its lock. */
export function replaceRecord(folder: RunFolder, record: RunRecord): void {
  writeWhole(folder.record, textOf(folder, record));
}

function textOf(folder: RunFolder, record: RunRecord): string {
  return `${JSON.stringify(storedRecord(folder.record, record), null, 2)}\n`;
}

/** @throws RunError RUN_WRITE for a name that is no folder's */
export function checkOut(command: string, path: string): void {
  if (path.trim() === '' || path.includes('\0')) {
    throw new RunError('RUN_WRITE', `${command}: --out is empty; name the folder to write to`);
  }
}

/**
 * What is written for a run stays in its folder: a link at `checkpoints` would have others' files pruned.
 * @throws RunError RUN_WRITE
 */
export function refuseLinks(folder: RunFolder): void {
  for (const path of [folder.checkpoints, folder.best, folder.tensorboard]) {
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status === undefined || status.isDirectory()) continue;
    throw new RunError(
      'RUN_WRITE',
      `run: ${path} is ${status.isSymbolicLink() ? 'a symbolic link' : 'no folder'}; expected a folder of the run's own`,
    );
  }
}

/** Whether a run folder's entry is one that this program makes there; a kill can leave temporary ones. */
export function isOwnFile(name: string): boolean {
  const own = Object.values(runFolder('.')).slice(1);
  const base = name.replace(/\.[0-9a-f]{12}\.tmp$/, '');
  return name === LOCK || name === 'onnx' || isTokenizerFile(base) || own.some((path) => basename(path) === base);
}

/** What a kill can leave of `createRun` before the record is there. */
function leftByKill(name: string): boolean {
  const base = name.replace(/\.[0-9a-f]{12}\.tmp$/, '');
  return (base !== name && base === 'run.json') || isTokenizerFile(base) || name === LOCK;
}

function alreadyRun(command: string, path: string): RunError {
  return new RunError(
    'RUN_EXISTS',
    `${command}: ${path} holds another run; go on with it by --resume, or name another folder with --out`,
  );
}

/** @throws RunError unless `path` is free or a folder that holds nothing but what `mayHold` allows */
export function refuseTaken(command: string, path: string, isRun: boolean, mayHold: (name: string) => boolean): void {
  if (isRun) throw alreadyRun(command, path);
  if (!existsSync(path)) return;
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    throw new RunError(
      'RUN_EXISTS',
      `${command}: --out ${path} is no folder that can be used: ${reasonOf(error)}; name another`,
    );
  }
  if (!names.every(mayHold)) {
    throw new RunError(
      'RUN_EXISTS',
      `${command}: ${path} is not empty and holds no run; name another folder with --out`,
    );
  }
}

/**
 * Opens a run for resuming, generation or evaluation.
 * @throws RunError RUN_MISSING, RUN_RECORD or RUN_VERSION
 */
export function openRun(path: string): { folder: RunFolder; record: RunRecord } {
  const folder = runFolder(path);
  if (!existsSync(folder.path)) throw new RunError('RUN_MISSING', `run: there is no folder ${path}`);
  if (!existsSync(folder.record)) {
    throw new RunError(
      'RUN_MISSING',
      `run: ${path} has no run.json; expected a folder that 'lazy-attention train' wrote`,
    );
  }
  return { folder, record: checkRecord(folder.record, loadedRecord(folder.record, readJson(folder.record))) };
}

/** Path of the run's newest checkpoint. @throws RunError RUN_NO_CHECKPOINT when it has none */
export async function checkpointOf(folder: RunFolder): Promise<string> {
  const path = await latestCheckpoint(folder.checkpoints);
  if (path === null) {
    throw new RunError('RUN_NO_CHECKPOINT', `run: ${folder.path} has no checkpoint yet; train it first, or delete it`);
  }
  return path;
}

/** `wanted`, or `wanted-2`, `wanted-3`, ... : the first that does not exist yet. */
export function freeFolder(wanted: string): string {
  for (let n = 1; ; n++) {
    const path = n === 1 ? wanted : `${wanted}-${n}`;
    if (!existsSync(path)) return path;
  }
}

export function runName(folder: RunFolder): string {
  return basename(folder.path);
}
