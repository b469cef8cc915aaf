import { checkpointState, latestCheckpoint, saveCheckpoint } from '@lazy-attention/nn/node';
import { RunError } from '../errors.ts';
import type { RunFolder } from '../run/folder.ts';
import { readMetrics } from '../run/metrics.ts';
import type { Session } from './session.ts';

/** How the validation losses so far go. */
export interface Standing {
  /** Lowest loss, Infinity before the first. */
  readonly best: number;
  /** Evaluations since then. */
  readonly since: number;
}

/** Of the evaluations in metrics.jsonl, so that a resumed run goes on counting. The last one of a run sees other windows and does not count. */
export function standing(folder: RunFolder): Standing {
  return readMetrics(folder.metrics).metrics.reduce<Standing>(
    (so, metric) => (metric.type === 'eval' && !metric.last ? after(so, metric.loss) : so),
    { best: Number.POSITIVE_INFINITY, since: 0 },
  );
}

/** With one more evaluation. */
export function after({ best, since }: Standing, loss: number): Standing {
  return loss < best ? { best: loss, since: 0 } : { best, since: since + 1 };
}

/** Writes the weights, without the optimiser, as the one checkpoint in the run's folder `best`. */
export async function saveBest({ model, params, step }: Session, folder: RunFolder, loss: number): Promise<void> {
  await saveCheckpoint(folder.best, { model, params, step, state: { validationLoss: loss }, keep: 1 });
}

/** The loss that `best` was kept for; Infinity where there is none yet. @throws RunError RUN_NO_CHECKPOINT for one of another program's */
export async function keptLoss(folder: RunFolder): Promise<number> {
  const path = await latestCheckpoint(folder.best);
  if (path === null) return Number.POSITIVE_INFINITY;
  const state = (await checkpointState(path)).state as { validationLoss?: unknown } | null;
  if (typeof state?.validationLoss === 'number') return state.validationLoss;
  throw new RunError(
    'RUN_NO_CHECKPOINT',
    `train: ${path} does not say its validation loss, so --save-best did not write it; move it elsewhere`,
  );
}
