import { existsSync, readdirSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { RunError } from '../errors.ts';
import { makeFolder } from '../run/files.ts';
import { createRun, isOwnFile, openRun, writeRecord } from '../run/folder.ts';
import { finishRun } from '../training/finish.ts';
import { disposeSession } from '../training/session.ts';
import { type TrainListener, train } from '../training/train.ts';
import type { CompareRun } from './plan.ts';

/** Trains one run of a comparison, from where it is. False when it was interrupted; what is finished is left as it is. */
export async function trainPlanned(
  backend: Backend,
  run: CompareRun,
  dataset: Dataset,
  options: { listener: TrainListener; signal: AbortSignal },
): Promise<boolean> {
  if (isFinished(run)) return true;
  const resume = prepare(run);
  const outcome = await train(backend, run.record, run.folder, dataset, { ...options, resume });
  try {
    if (outcome.interrupted) return false;
    await finishRun(outcome, run.folder, dataset, options.signal);
    return true;
  } catch (error) {
    if (options.signal.aborted) return false;
    throw error;
  } finally {
    disposeSession(outcome.session);
  }
}

/**
 * Leaves a folder with the run's record. Nothing is deleted: what is there is this run, or it is refused. False when
 * nothing was there.
 * @throws RunError RUN_EXISTS for a folder with anything else in it, RUN_DIFFERS for another run
 */
function prepare({ folder, record }: CompareRun): boolean {
  if (!existsSync(folder.path)) {
    createRun(folder.path, record);
    return false;
  }
  if (!existsSync(folder.record)) {
    // The plan knows the record, so that a run whose run.json is gone goes on all the same.
    const own = readdirSync(folder.path).filter((name) => !isOwnFile(name));
    if (own.length > 0) {
      throw new RunError(
        'RUN_EXISTS',
        `compare: ${folder.path} has no run.json, and holds ${own[0]}, which is no file of a run; move it elsewhere to go on`,
      );
    }
    makeFolder(folder.checkpoints);
    writeRecord(folder, record);
    return true;
  }
  const found = openRun(folder.path).record;
  for (const part of ['model', 'data', 'training', 'start'] as const) {
    if (isDeepStrictEqual(found[part], record[part])) continue;
    throw new RunError(
      'RUN_DIFFERS',
      `compare: ${folder.record} is of another run: its ${part} is not that of the comparison; move the folder elsewhere to train it anew`,
    );
  }
  return true;
}

/** summary.json is the last thing that a run writes. */
export function isFinished(run: CompareRun): boolean {
  return existsSync(run.folder.summary);
}
