import { existsSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { latestCheckpoint } from '@lazy-attention/nn/node';
import type { RunFolder } from '../run/folder.ts';
import { appendMetric, type EvalMetric, type TrainMetric, truncateMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import {
  checkUsable,
  disposeSession,
  lastCheckpoint,
  launchStep,
  newSession,
  type PendingStep,
  resumeSession,
  type Session,
  saveSession,
  settleStep,
} from './session.ts';

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
  options: { resume: boolean; listener?: TrainListener; signal?: AbortSignal },
): Promise<TrainOutcome> {
  const { listener = {}, signal } = options;
  const { rhythm } = record;
  // A run that was killed before its first checkpoint has no metrics either; it begins anew and nothing is lost.
  const begun = options.resume && existsSync(folder.metrics);
  const from = begun
    ? await lastCheckpoint(folder)
    : options.resume
      ? await latestCheckpoint(folder.checkpoints)
      : null;
  const { session, seconds: before } =
    from === null
      ? { session: newSession(backend, record, dataset), seconds: 0 }
      : await resumeSession(backend, record, folder, dataset);
  const { steps, batch } = record.training;
  const tokensPerStep = batch * record.model.context;
  const clock = stopwatch(before);
  const stepSeconds = smoothed(0.1);

  // The last evaluation follows the last checkpoint, so a finished run that is resumed makes it again.
  if (from !== null) truncateMetrics(folder.metrics, session.step, session.step === steps);
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
  const assess = async (windows: number, interruptible: { signal?: AbortSignal } = {}): Promise<Evaluation> => {
    await checkUsable(session, dataset);
    const on = dataset.validation === null ? 'train' : 'validation';
    const split = dataset.validation ?? dataset.train;
    const evaluation = await evaluate(backend, session.model, session.params, split, {
      batch,
      windows,
      on,
      ...interruptible,
    });
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
    while (session.step < steps) {
      // A backend that computes in place never waits, and signals, sockets and timers would never get their turn.
      await turn();
      if (signal?.aborted) break;
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
    try {
      const evaluation = await assess(rhythm.finalEvalWindows, signal === undefined ? {} : { signal });
      return { session, evaluation, interrupted: false };
    } catch (error) {
      if (signal?.aborted) return { session, evaluation: null, interrupted: true };
      throw error;
    }
  } catch (error) {
    disposeSession(session);
    throw error;
  }
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
