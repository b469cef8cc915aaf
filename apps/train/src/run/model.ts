import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend } from '@lazy-attention/core';
import { type Tokenizer, tokenizerFromJSON } from '@lazy-attention/data';
import type { LoadModelOptions, OpenedModel } from '@lazy-attention/models';
import { openModel } from '@lazy-attention/models/node';
import type { LazyTransformer, Params } from '@lazy-attention/nn';
import { latestCheckpoint } from '@lazy-attention/nn/node';
import { RunError, UsageError } from '../errors.ts';
import { checkpointOf, openRun, type RunFolder, runFolder } from './folder.ts';
import { loadTrained } from './load.ts';
import type { RunRecord } from './record.ts';

/** What MODEL is, for the help of commands. */
export const MODEL = 'a run, a checkpoint, a Hugging Face or fla folder, or a .gguf file';

/** A MODEL of the command line, opened and checked; its weights are still on the disk. */
export interface ModelArgument {
  readonly opened: OpenedModel;
  /** Where it is a run or one of its checkpoints: what it was trained on, too, and the path of the checkpoint. */
  readonly run: { readonly folder: RunFolder; readonly record: RunRecord; readonly checkpoint: string } | null;
}

/** A MODEL on a backend. */
export interface LoadedArgument {
  readonly model: LazyTransformer;
  /** The caller disposes them. */
  readonly params: Params;
  readonly tokenizer: Tokenizer;
}

/** @throws RunError RUN_MISSING where there is no model, RUN_NO_CHECKPOINT; ModelError for one that cannot be read */
export async function openArgument(path: string): Promise<ModelArgument> {
  const checkpoint = await checkpointAt(path);
  if (checkpoint === null && !holdsModel(path)) {
    const found = existsSync(path) ? `${path} holds no model` : `there is no file or folder ${path}`;
    throw new RunError('RUN_MISSING', `${found}; expected ${MODEL}`);
  }
  const around = checkpoint === null ? null : runAround(path, checkpoint);
  if (checkpoint === null || around === null) return { opened: await openModel(checkpoint ?? path), run: null };
  const run = { ...openRun(around), checkpoint };
  const tokenizer = tokenizerFromJSON(run.record.data.tokenizer);
  return { opened: await openModel(isRun(path) ? path : checkpoint, { tokenizer }), run };
}

/**
 * The checkpoint that a path means: a run's newest, itself, or the newest of a folder of them (`checkpoints`, `best`). null for
 * what is something else. @throws RunError RUN_NO_CHECKPOINT
 */
export async function checkpointAt(path: string): Promise<string | null> {
  if (isRun(path)) return checkpointOf(runFolder(path));
  if (!existsSync(path) || !statSync(path).isDirectory()) return null;
  return existsSync(join(path, 'checkpoint.json')) ? path : latestCheckpoint(path);
}

const isRun = (path: string): boolean => existsSync(runFolder(path).record);

/** The folder of the run that a checkpoint lies in; null where it was taken elsewhere. */
function runAround(path: string, checkpoint: string): string | null {
  const around = isRun(path) ? path : join(checkpoint, '..', '..');
  return isRun(around) ? around : null;
}

/** @throws UsageError for a model without tokenizer; CheckpointError or ModelError */
export async function loadArgument(
  backend: Backend,
  { opened, run }: ModelArgument,
  options: LoadModelOptions = {},
): Promise<LoadedArgument> {
  if (run !== null && (options.weights ?? 'dense') !== 'dense') {
    throw new UsageError(
      `--weights ${options.weights}: a run is trained on as it is; write it first: export MODEL --format hf or gguf`,
    );
  }
  const tokenizer = tokenizerOf(opened);
  if (run !== null && options.dtype === undefined) {
    return loadTrained(backend, run.folder, run.record, { tokenizer, checkpoint: run.checkpoint });
  }
  return { ...(await opened.load(backend, options)), tokenizer };
}

/** `--context` of a command. @throws UsageError where it is more than the model takes */
export function checkedContext(command: string, { config }: OpenedModel, context?: number): number | undefined {
  if (context === undefined || context <= config.context) return context;
  throw new UsageError(`${command}: --context is ${context}; the model takes ${config.context} tokens at most`);
}

/** @throws UsageError where the model comes without one */
export function tokenizerOf({ path, tokenizer }: OpenedModel): Tokenizer {
  if (tokenizer !== null) return tokenizer;
  throw new UsageError(`${path} has no tokenizer; put its tokenizer.json beside config.json`);
}

function holdsModel(path: string): boolean {
  if (!existsSync(path)) return false;
  if (!statSync(path).isDirectory()) return true;
  return readdirSync(path).some((name) => name === 'config.json' || name.endsWith('.gguf'));
}
