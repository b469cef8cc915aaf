import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { RunError } from '../errors.ts';
import { writeError, writeWhole } from './files.ts';
import { RUN_VERSION, type RunRecord } from './record.ts';

/** Paths of a run folder: run.json, metrics.jsonl, checkpoints/, sample.txt, summary.json, report.html. */
export interface RunFolder {
  readonly path: string;
  readonly record: string;
  readonly metrics: string;
  readonly checkpoints: string;
  readonly sample: string;
  readonly summary: string;
  readonly report: string;
}

export function runFolder(path: string): RunFolder {
  const root = resolve(path);
  return {
    path: root,
    record: join(root, 'run.json'),
    metrics: join(root, 'metrics.jsonl'),
    checkpoints: join(root, 'checkpoints'),
    sample: join(root, 'sample.txt'),
    summary: join(root, 'summary.json'),
    report: join(root, 'report.html'),
  };
}

/** Makes the folder of a new run and writes its record. Refuses a folder that already holds anything. */
export function createRun(path: string, record: RunRecord): RunFolder {
  const folder = runFolder(path);
  refuseTaken('train', path, existsSync(folder.record), leftByKill);
  try {
    mkdirSync(folder.path, { recursive: true });
    writeWhole(folder.record, `${JSON.stringify(record, null, 2)}\n`);
    mkdirSync(folder.checkpoints, { recursive: true });
  } catch (error) {
    throw error instanceof RunError ? error : writeError(folder.path, error);
  }
  return folder;
}

/** What a kill can leave of `createRun` before the record is there. */
function leftByKill(name: string): boolean {
  return name.startsWith('run.json.') && name.endsWith('.tmp');
}

/** @throws RunError unless `path` is free or a folder that holds nothing but what `mayHold` allows */
export function refuseTaken(command: string, path: string, isRun: boolean, mayHold: (name: string) => boolean): void {
  if (isRun) {
    throw new RunError(
      'RUN_EXISTS',
      `${command}: ${path} holds another run; go on with it by --resume, or name another folder with --out`,
    );
  }
  if (!existsSync(path)) return;
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RunError(
      'RUN_EXISTS',
      `${command}: --out ${path} is no folder that can be used: ${reason}; name another`,
    );
  }
  if (!names.every(mayHold)) {
    throw new RunError(
      'RUN_EXISTS',
      `${command}: ${path} is not empty and holds no run; name another folder with --out`,
    );
  }
}

/** Opens a run for resuming, generation or evaluation. */
export function openRun(path: string): { folder: RunFolder; record: RunRecord } {
  const folder = runFolder(path);
  if (!existsSync(folder.path)) throw new RunError('RUN_MISSING', `run: there is no folder ${path}`);
  if (!existsSync(folder.record)) {
    throw new RunError(
      'RUN_MISSING',
      `run: ${path} has no run.json; expected a folder that 'lazy-attention train' wrote`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(folder.record, 'utf8'));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RunError('RUN_RECORD', `run: ${folder.record} cannot be read: ${reason}`, { cause: error });
  }
  return { folder, record: checkRecord(folder.record, value) };
}

/** What a record must have for anything to make sense of it; models and tokenisers check their own parts. */
const FIELDS: Readonly<Record<string, Readonly<Record<string, 'number' | 'string' | 'object'>>>> = {
  model: { context: 'number', vocabSize: 'number', attention: 'string' },
  data: { source: 'string', options: 'object', tokenizer: 'object', fingerprint: 'string', validation: 'number' },
  training: { steps: 'number', batch: 'number', learningRate: 'number', warmupSteps: 'number', seed: 'number' },
  rhythm: {
    evalEvery: 'number',
    evalWindows: 'number',
    finalEvalWindows: 'number',
    checkpointEvery: 'number',
    keep: 'number',
  },
  sample: { prompt: 'string', tokens: 'number' },
  environment: { backend: 'string', device: 'string' },
};

function checkRecord(path: string, value: unknown): RunRecord {
  const record = value as RunRecord;
  if (typeof value !== 'object' || value === null || !Number.isInteger(record.version)) {
    throw new RunError('RUN_RECORD', `run: ${path} is not a run record; expected an object with a version`);
  }
  if (record.version > RUN_VERSION) {
    throw new RunError(
      'RUN_VERSION',
      `run: ${path} has version ${record.version}; this program knows up to ${RUN_VERSION}; upgrade lazy-attention`,
    );
  }
  for (const [part, fields] of Object.entries(FIELDS)) {
    const values = (record as unknown as Record<string, Record<string, unknown> | undefined>)[part];
    for (const [field, type] of Object.entries(fields)) {
      const found = values?.[field];
      const fits = type === 'number' ? Number.isFinite(found) : typeof found === type;
      if (!fits) {
        throw new RunError(
          'RUN_RECORD',
          `run: ${path} is damaged: ${part}.${field} is ${JSON.stringify(found)}; expected a ${type}`,
        );
      }
    }
  }
  return record;
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
