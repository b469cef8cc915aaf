import { existsSync, rmSync } from 'node:fs';
import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { latestCheckpoint } from '@lazy-attention/nn/node';
import { createRun, openRun } from '../run/folder.ts';
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
  const resume = existsSync(run.folder.record) && (await latestCheckpoint(run.folder.checkpoints)) !== null;
  if (!resume) {
    // Stopped before its first checkpoint: nothing is lost by beginning anew.
    rmSync(run.folder.path, { recursive: true, force: true });
    createRun(run.folder.path, run.record);
  }
  openRun(run.folder.path);
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

/** summary.json is the last thing that a run writes. */
export function isFinished(run: CompareRun): boolean {
  return existsSync(run.folder.summary);
}
