import { existsSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import type { AttentionSummary } from '@lazy-attention/analysis';
import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { type Communicator, oneProcess } from '@lazy-attention/nn';
import { latestCheckpoint } from '@lazy-attention/nn/node';
import { checkpointOf, type RunFolder, refuseLinks, writeRecord } from '../run/folder.ts';
import { lockFolder } from '../run/lock.ts';
import { appendMetric, type EvalMetric, type TrainMetric, truncateMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { after, keptLoss, type Standing, saveBest, standing } from './best.ts';
import { type Evaluation, evaluate, evaluationOf } from './evaluate.ts';
import { watchRising } from './rising.ts';
import { appendSample, sampleOf, type TrainingSample, truncateSamples } from './samples.ts';
import {
  checkUsable,
  disposeSession,
  launchStep,
  newSession,
  optimizerState,
  type PendingStep,
  resumeSession,
  type Session,
  saveSession,
  settleStep,
} from './session.ts';

/** What training tells while it goes on. */
export interface TrainListener {
  /** Before the first step that is made now. */
  onStart?(info: { readonly step: number; readonly steps: number; readonly tokensPerStep: number }): void;
  /** After a step whose loss is known. */
  onStep?(metric: TrainMetric): void;
  /** After an evaluation, with what the heads did. */
  onEval?(metric: EvalMetric, attention: AttentionSummary | null): void;
  /** After a sample that `--sample-every` asks for. */
  onSample?(sample: TrainingSample): void;
  /** Something that the reader should know. */
  onNotice?(line: string): void;
}

/** How training ended. */
export interface TrainOutcome {
  /** Model, optimiser and sampler as they are then. */
  readonly session: Session;
  /** null when it was interrupted. */
  readonly evaluation: Evaluation | null;
  /** True after an abort, when a checkpoint was saved. */
  readonly interrupted: boolean;
}

export interface RunOptions {
  /** Go on from the last checkpoint, where there is one. */
  readonly resume: boolean;
  /** A run that --stop-after ended trains on, and its evaluations are counted anew. Default: it stays ended. */
  readonly trainOn?: boolean;
  /** Is told of every step and evaluation. */
  readonly listener?: TrainListener;
  /** Ends the running step, saves and returns. */
  readonly signal?: AbortSignal;
  /** Evaluations keep attention maps of this many tokens. Default: none. */
  readonly mapLength?: number | undefined;
  /** Processes that train it together, each with its part of every batch; rank 0 writes. Default: this one alone. */
  readonly communicator?: Communicator;
}

/**
 * Trains a run to its last step, from its start or from its last checkpoint. Each step's metrics go to metrics.jsonl and
 * to the listener. An abort of `signal` ends the running step, saves a checkpoint and returns.
 * @throws TrainingError when the loss is not a number; checkpoints from before are untouched
 * @throws RunError RUN_LOCKED when another process trains this run
 */
export async function train(
  backend: Backend,
  record: RunRecord,
  folder: RunFolder,
  dataset: Dataset,
  options: RunOptions,
): Promise<TrainOutcome> {
  const lock = (options.communicator?.rank ?? 0) === 0 ? lockFolder(folder.path) : null;
  try {
    refuseLinks(folder);
    const run = await openTraining(backend, record, folder, dataset, options);
    try {
      return await trainToEnd(run);
    } catch (error) {
      disposeSession(run.session);
      throw error;
    }
  } finally {
    lock?.release();
  }
}

/** A run that is being trained. */
interface Training {
  readonly backend: Backend;
  readonly session: Session;
  readonly folder: RunFolder;
  readonly record: RunRecord;
  readonly dataset: Dataset;
  readonly listener: TrainListener;
  readonly signal: AbortSignal | undefined;
  readonly mapLength: number | undefined;
  readonly clock: ReturnType<typeof stopwatch>;
  readonly stepSeconds: ReturnType<typeof smoothed>;
  /** The step that the device computes. */
  pending: PendingStep | null;
  /** When the step before it was done, in seconds of training. */
  settledAt: number;
  /** Step of the newest checkpoint. */
  savedAt: number;
  /** How the validation losses go. */
  standing: Standing;
  /** Loss that the folder `best` is of. */
  kept: number;
  /** `--stop-after` had ended it before it was resumed. */
  readonly ended: boolean;
}

async function openTraining(
  backend: Backend,
  record: RunRecord,
  folder: RunFolder,
  dataset: Dataset,
  { resume, trainOn = false, listener: told = {}, signal, mapLength, communicator = oneProcess() }: RunOptions,
): Promise<Training> {
  const rising = watchRising((line) => told.onNotice?.(line));
  const listener = communicator.rank > 0 ? {} : together(told, rising);
  // A run that was killed before its first checkpoint has no metrics either; it begins anew and nothing is lost.
  const begun = resume && existsSync(folder.metrics);
  const from = begun ? await checkpointOf(folder) : resume ? await latestCheckpoint(folder.checkpoints) : null;
  const { session, seconds } =
    from === null
      ? { session: await newSession(backend, record, dataset, communicator), seconds: 0 }
      : await resumeSession(backend, record, folder, dataset, communicator);
  const { steps, batch } = record.training;
  let state = NEW;
  try {
    // All have read what rank 0 now changes.
    await communicator.barrier();
    if (from === null) await writeCheckpoint(session, folder, 0, record.rhythm.keep);
    else if (communicator.rank === 0) state = await takeUp(folder, record, session.step, trainOn);
  } catch (error) {
    disposeSession(session);
    throw error;
  }
  listener.onStart?.({ step: session.step, steps, tokensPerStep: batch * record.model.context });
  const clock = stopwatch(seconds);
  const parts = {
    backend,
    session,
    folder,
    record,
    dataset,
    listener,
    signal,
    mapLength,
    clock,
    stepSeconds: smoothed(0.1),
  };
  return { ...parts, ...state, pending: null, settledAt: clock.seconds(), savedAt: session.step };
}

/** What the evaluations of a run have come to. */
type Judged = Pick<Training, 'standing' | 'kept' | 'ended'>;

const NEW: Judged = {
  standing: { best: Number.POSITIVE_INFINITY, since: 0 },
  kept: Number.POSITIVE_INFINITY,
  ended: false,
};

/** Rank 0 forgets what a run recorded after its last checkpoint, at `step`, and takes the rest up. */
async function takeUp(folder: RunFolder, record: RunRecord, step: number, trainOn: boolean): Promise<Judged> {
  const { steps } = record.training;
  const kept = record.rhythm.saveBest === true ? await keptLoss(folder) : Number.POSITIVE_INFINITY;
  truncateMetrics(folder.metrics, step);
  if (record.sample.every !== undefined) truncateSamples(folder.samples, step);
  const found = standing(folder);
  const stuck = step < steps && isStuck(record, found);
  const ended = stuck && !trainOn;
  // The last evaluation follows the last checkpoint, so a run that is at its end makes it again.
  if (step === steps || ended) truncateMetrics(folder.metrics, step, ended ? 'stopped' : 'steps');
  return { standing: stuck && trainOn ? { ...found, since: 0 } : found, kept, ended };
}

async function trainToEnd(run: Training): Promise<TrainOutcome> {
  const { session, record, signal } = run;
  const { steps } = record.training;
  const { evalEvery, checkpointEvery } = record.rhythm;
  let stuck = await ledBy(run, run.ended);
  if (stuck) run.listener.onNotice?.(endedBefore(run));
  while (session.step < steps && !stuck) {
    // A backend that computes in place never waits, and signals, sockets and timers would never get their turn.
    await turn();
    if (signal?.aborted && session.communicator.size === 1) break;
    const launched = await launchStep(session, signal?.aborted === true);
    // One step ahead: the device computes this one while the host reads the last one's loss.
    await settle(run);
    run.pending = launched;
    if (session.step === steps || launched.stopping) break;
    // Evaluated before saved: a kill between the two repeats the evaluation and cannot lose it.
    if (isDue(session.step, evalEvery)) {
      await pause(run, () => assessBetween(run));
      stuck = await ledBy(run, isStuck(record, run.standing));
      if (stuck) run.listener.onNotice?.(endsNow(run));
      if (stuck) break;
    }
    if (isDue(session.step, record.sample.every ?? 0)) await pause(run, () => sampleNow(run));
    if (isDue(session.step, checkpointEvery)) await save(run);
  }
  await settle(run);
  if (run.savedAt < session.step) await save(run);
  if (session.step < steps && !stuck) return { session, evaluation: null, interrupted: true };
  if (!leads(run)) return { session, evaluation: null, interrupted: false };
  try {
    return { session, evaluation: await assessLast(run, signal), interrupted: false };
  } catch (error) {
    if (signal?.aborted) return { session, evaluation: null, interrupted: true };
    throw error;
  }
}

/** Waits for the pending step and records it. */
async function settle(run: Training): Promise<void> {
  if (run.pending === null) return;
  const result = await settleStep(run.pending);
  run.pending = null;
  const seconds = run.clock.seconds();
  const { training, model } = run.record;
  const tokensPerSecond = (training.batch * model.context) / run.stepSeconds.add(seconds - run.settledAt);
  run.settledAt = seconds;
  if (!leads(run)) return;
  const metric: TrainMetric = { type: 'train', ...result, tokensPerSecond, seconds };
  appendMetric(run.folder.metrics, metric);
  run.listener.onStep?.(metric);
}

/** Whether this process writes and evaluates: all do but the further ranks. */
function leads({ session }: Training): boolean {
  return session.communicator.rank === 0;
}

/** Does work that is no training and one rank's, with the clock stopped. */
async function pause(run: Training, work: () => Promise<unknown>): Promise<void> {
  await settle(run);
  if (!leads(run)) return;
  run.clock.stop();
  await work();
  run.clock.start();
  run.settledAt = run.clock.seconds();
}

async function save(run: Training): Promise<void> {
  const { session, folder, record, dataset, clock } = run;
  run.savedAt = session.step;
  await settle(run);
  const seconds = clock.seconds();
  await pause(run, () => checkUsable(session, dataset));
  if (leads(run)) keepRecord(run);
  run.clock.stop();
  await writeCheckpoint(session, folder, seconds, record.rhythm.keep);
  run.clock.start();
  run.settledAt = clock.seconds();
}

/** Rank 0 writes what all ranks have. */
async function writeCheckpoint(session: Session, folder: RunFolder, seconds: number, keep: number): Promise<void> {
  const optimizer = await optimizerState(session);
  if (optimizer === null || session.communicator.rank > 0) return;
  try {
    await saveSession(session, optimizer, folder, seconds, keep);
  } finally {
    optimizer.dispose();
  }
}

/** Whether `--stop-after` ends training here. */
function isStuck({ rhythm: { stopAfter } }: RunRecord, { since }: Standing): boolean {
  return stopAfter !== undefined && since >= stopAfter;
}

/** What rank 0, which evaluates, found, for all. */
async function ledBy({ session: { communicator } }: Training, found: boolean): Promise<boolean> {
  const verdict = Uint8Array.of(found ? 1 : 0);
  await communicator.broadcast(verdict, 0);
  return verdict[0] === 1;
}

function endsNow({ record, session }: Training): string {
  const { stopAfter } = record.rhythm;
  return `No lower validation loss in ${stopAfter} evaluations (--stop-after): training ends at step ${session.step}.`;
}

function endedBefore({ record, session, standing: { since } }: Training): string {
  const { steps } = record.training;
  return (
    `--stop-after ${record.rhythm.stopAfter} ended this run at step ${session.step} of ${steps}: no lower validation loss in ${since} evaluations. ` +
    `It trains on with --resume and --stop-after ${since + 1} or more, or --steps ${steps} or more, which counts anew.`
  );
}

/** A run without its record could not be used: one that was removed meanwhile is written again. */
function keepRecord({ folder, record, listener }: Training): void {
  if (!existsSync(folder.record) && writeRecord(folder, record)) {
    listener.onNotice?.(`${folder.record} was gone and has been written again`);
  }
}

/** A signal ends it, and then training, without a sample. */
async function sampleNow({ session, dataset, folder, listener, signal }: Training): Promise<void> {
  await checkUsable(session, dataset);
  try {
    const sample = { step: session.step, text: await sampleOf(session, dataset, signal) };
    appendSample(folder.samples, sample);
    listener.onSample?.(sample);
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
}

async function assessBetween(run: Training): Promise<void> {
  await checkUsable(run.session, run.dataset);
  const evaluation = await look(run, run.record.rhythm.evalWindows, undefined, run.mapLength);
  tell(run, evaluation, {});
  run.standing = after(run.standing, evaluation.headline.loss);
  await keepIfBest(run, evaluation.headline.loss);
}

/** The evaluation that ends a run. */
async function assessLast(run: Training, signal: AbortSignal | undefined): Promise<Evaluation> {
  const { evalEvery, evalWindows, finalEvalWindows, saveBest: keeps } = run.record.rhythm;
  await checkUsable(run.session, run.dataset);
  // Where --stop-after ended the run these weights have been looked at.
  const fresh = keeps === true && run.session.step === run.record.training.steps;
  // By the windows that tell the others apart, where there are others.
  const sameWindows = evalEvery === 0 || evalWindows === finalEvalWindows;
  const between = fresh && !sameWindows ? (await look(run, evalWindows, signal)).headline.loss : null;
  const evaluation = await look(run, finalEvalWindows, signal, run.mapLength);
  tell(run, evaluation, { last: true });
  if (fresh) await keepIfBest(run, between ?? evaluation.headline.loss);
  return evaluation;
}

/** Records an evaluation. */
function tell(run: Training, { headline, attention }: Evaluation, marks: Pick<EvalMetric, 'last'>): void {
  const metric: EvalMetric = { type: 'eval', step: run.session.step, ...marks, ...headline };
  appendMetric(run.folder.metrics, metric);
  run.listener.onEval?.(metric, attention);
}

async function keepIfBest(run: Training, loss: number): Promise<void> {
  if (run.record.rhythm.saveBest !== true || loss >= run.kept) return;
  await saveBest(run.session, run.folder, loss);
  run.kept = loss;
}

function look(
  { backend, session, dataset, record }: Training,
  windows: number,
  signal?: AbortSignal,
  mapLength?: number,
): Promise<Evaluation> {
  const on = dataset.validation === null ? 'train' : 'validation';
  const options = { ...evaluationOf(record), windows, on, signal, mapLength } as const;
  return evaluate(backend, session.model, session.params, dataset.validation ?? dataset.train, options);
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

/** Both are told, in this order. */
export function together(first: TrainListener, second: TrainListener): TrainListener {
  return {
    onStart: (info) => {
      first.onStart?.(info);
      second.onStart?.(info);
    },
    onStep: (metric) => {
      first.onStep?.(metric);
      second.onStep?.(metric);
    },
    onEval: (metric, attention) => {
      first.onEval?.(metric, attention);
      second.onEval?.(metric, attention);
    },
    onSample: (sample) => {
      first.onSample?.(sample);
      second.onSample?.(sample);
    },
    onNotice: (line) => {
      first.onNotice?.(line);
      second.onNotice?.(line);
    },
  };
}
