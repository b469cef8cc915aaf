import type { Backend } from '@lazy-attention/core';
import type { Dataset, TokenSplit } from '@lazy-attention/data';
import type { RunFolder } from '../run/folder.ts';
import { appendMetric, type EvalMetric, type TrainMetric, truncateMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import {
  checkUsable,
  disposeSession,
  launchStep,
  newSession,
  type PendingStep,
  resumeSession,
  type Session,
  saveSession,
  settleStep,
} from './session.ts';

/** How often things happen, none of which changes what is computed. */
export interface Rhythm {
  /** Steps between validation losses; 0 only at the end. */
  readonly evalEvery: number;
  /** Windows of the validation part that are looked at in between; the last evaluation takes `finalEvalWindows`. */
  readonly evalWindows: number;
  readonly finalEvalWindows: number;
  /** Steps between checkpoints; one is always written at the start and the end. */
  readonly checkpointEvery: number;
  /** Checkpoints kept. */
  readonly keep: number;
}

export interface TrainListener {
  onStart?(info: { readonly step: number; readonly steps: number; readonly tokensPerStep: number }): void;
  onStep?(metric: TrainMetric): void;
  onEval?(metric: EvalMetric): void;
}

export interface TrainOutcome {
  readonly session: Session;
  /** null when it was interrupted. */
  readonly evaluation: Evaluation | null;
  readonly interrupted: boolean;
}

/**
 * Trains a run to its last step, from its start or from its last checkpoint. Each step's metrics go to metrics.jsonl and
 * to the listener. An abort of `signal` ends the running step, saves a checkpoint and returns.
 * @throws TrainingError when the loss is not a number; checkpoints from before are untouched
 */
export async function train(
  backend: Backend,
  record: RunRecord,
  folder: RunFolder,
  dataset: Dataset,
  options: { resume: boolean; rhythm: Rhythm; listener?: TrainListener; signal?: AbortSignal },
): Promise<TrainOutcome> {
  const { rhythm, listener = {}, signal } = options;
  const { session, seconds: before } = options.resume
    ? await resumeSession(backend, record, folder, dataset)
    : { session: newSession(backend, record, dataset), seconds: 0 };
  const { steps, batch } = record.training;
  const tokensPerStep = batch * record.model.context;
  const clock = stopwatch(before);
  const stepSeconds = smoothed(0.1);

  // The last evaluation follows the last checkpoint, so a finished run that is resumed makes it again.
  if (options.resume) truncateMetrics(folder.metrics, session.step, session.step === steps);
  else await saveSession(session, folder, 0, rhythm.keep);
  listener.onStart?.({ step: session.step, steps, tokensPerStep });

  let pending: PendingStep | null = null;
  let settledAt = clock.seconds();
  const settle = async () => {
    if (pending === null) return;
    const result = await settleStep(pending);
    pending = null;
    const now = clock.seconds();
    const tokensPerSecond = tokensPerStep / stepSeconds.add(now - settledAt);
    settledAt = now;
    const metric: TrainMetric = { type: 'train', ...result, tokensPerSecond, seconds: now };
    appendMetric(folder.metrics, metric);
    listener.onStep?.(metric);
  };
  const pause = async (work: () => Promise<void>) => {
    await settle();
    clock.stop();
    await work();
    clock.start();
    settledAt = clock.seconds();
  };
  const assess = async (windows: number): Promise<Evaluation> => {
    const evaluation = await evaluate(backend, session.model, session.params, heldOut(dataset), { batch, windows });
    const metric: EvalMetric = { type: 'eval', step: session.step, ...evaluation.headline };
    appendMetric(folder.metrics, metric);
    listener.onEval?.(metric);
    return evaluation;
  };

  try {
    let savedAt = session.step;
    const save = () =>
      pause(async () => {
        await checkUsable(session, dataset);
        await saveSession(session, folder, clock.seconds(), rhythm.keep);
        savedAt = session.step;
      });
    while (session.step < steps && !signal?.aborted) {
      const launched = launchStep(session);
      // One step ahead: the device computes this one while the host reads the last one's loss.
      await settle();
      pending = launched;
      if (session.step === steps) break;
      // Evaluated before saved: a kill between the two repeats the evaluation and cannot lose it.
      if (isDue(session.step, rhythm.evalEvery)) {
        await pause(async () => {
          await assess(rhythm.evalWindows);
        });
      }
      if (isDue(session.step, rhythm.checkpointEvery)) await save();
    }
    await settle();
    if (savedAt < session.step) await save();
    if (session.step < steps) return { session, evaluation: null, interrupted: true };
    return { session, evaluation: await assess(rhythm.finalEvalWindows), interrupted: false };
  } catch (error) {
    disposeSession(session);
    throw error;
  }
}

/** Without a held-out part the training part is looked at; the summary of such a run says so. */
function heldOut(dataset: Dataset): TokenSplit {
  return dataset.validation ?? dataset.train;
}

function isDue(step: number, every: number): boolean {
  return every > 0 && step % every === 0;
}

/** Counts seconds, pauses left out, on from `before`. */
function stopwatch(before: number) {
  let total = before;
  let since: number | null = performance.now();
  return {
    seconds: () => total + (since === null ? 0 : (performance.now() - since) / 1000),
    stop: () => {
      if (since !== null) total += (performance.now() - since) / 1000;
      since = null;
    },
    start: () => {
      since = performance.now();
    },
  };
}

/** Exponential moving average that starts at the first value. */
function smoothed(rate: number) {
  let value: number | null = null;
  return {
    add(next: number): number {
      value = value === null ? next : value + rate * (next - value);
      return value;
    },
  };
}
