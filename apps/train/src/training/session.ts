import { setImmediate as turn } from 'node:timers/promises';
import type { Backend, Ops, Tensor } from '@lazy-attention/core';
import {
  createSampler,
  type Dataset,
  type Batch as HostBatch,
  type Sampler,
  type SamplerState,
  validationBatches,
} from '@lazy-attention/data';
import {
  type AdamW,
  adamW,
  addingGrad,
  batchTensors,
  cosineSchedule,
  disposeParams,
  type LazyTransformer,
  lazyTransformer,
  type Params,
  type ValueAndGrad,
} from '@lazy-attention/nn';
import { loadCheckpoint, saveCheckpoint } from '@lazy-attention/nn/node';
import { RunError, TrainingError } from '../errors.ts';
import { checkpointOf, type RunFolder } from '../run/folder.ts';
import type { RunRecord } from '../run/record.ts';
import { firstTokenMarks, penalisedLoss } from './sink-penalty.ts';
import { annealTau, firstParams, trainable } from './start.ts';

/** Model, optimiser and sampler of one run on one backend: what a checkpoint holds, alive. */
export interface Session {
  readonly backend: Backend;
  readonly record: RunRecord;
  readonly model: LazyTransformer;
  readonly params: Params;
  /** Those of them that the optimiser moves. */
  readonly trained: Params;
  readonly optimizer: AdamW;
  readonly sampler: Sampler;
  readonly schedule: (step: number) => number;
  /** Adds to the loss and gradients of the pieces before. */
  readonly lossAndGrads: (
    params: Params,
    previous: ValueAndGrad<Params> | null,
    batch: StepBatch,
  ) => ValueAndGrad<Params>;
  /** Steps done. */
  step: number;
}

/** What the launch of one step leaves to wait for. */
export interface PendingStep {
  readonly step: number;
  readonly learningRate: number;
  readonly loss: Tensor;
  readonly gradNormSquared: Tensor;
}

export interface StepResult {
  readonly step: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly gradNorm: number;
}

interface SavedState {
  readonly sampler: SamplerState;
  /** Seconds of training so far. */
  readonly seconds: number;
}

/** A session at step 0, with weights drawn from the run's seed, or those of the model that it starts from. */
export async function newSession(backend: Backend, record: RunRecord, dataset: Dataset): Promise<Session> {
  const model = lazyTransformer(record.model);
  const params = await firstParams(backend, record, model);
  try {
    const optimizer = adamW(backend, trainable(params, record.start?.trainOnly), adamOptions(record));
    return assemble(backend, record, dataset, model, params, optimizer, undefined, 0);
  } catch (error) {
    disposeParams(params);
    throw error;
  }
}

/** The session as its last checkpoint left it, and the seconds it had trained. */
export async function resumeSession(
  backend: Backend,
  record: RunRecord,
  folder: RunFolder,
  dataset: Dataset,
): Promise<{ session: Session; seconds: number }> {
  const model = lazyTransformer(record.model);
  const loaded = await loadCheckpoint(backend, await checkpointOf(folder), { model });
  if (loaded.optimizer === null) {
    throw new RunError('RUN_NO_CHECKPOINT', `train: the last checkpoint of ${folder.path} has no optimiser state`);
  }
  const moved = trainable(loaded.params, record.start?.trainOnly);
  const optimizer = adamW(backend, moved, { ...adamOptions(record), state: loaded.optimizer });
  const state = savedState(loaded.state, folder);
  return {
    session: assemble(backend, record, dataset, model, loaded.params, optimizer, state.sampler, loaded.step),
    seconds: state.seconds,
  };
}

/** The sampler checks its own part. */
function savedState(state: unknown, folder: RunFolder): SavedState {
  const { sampler, seconds } = (state ?? {}) as { sampler?: unknown; seconds?: unknown };
  if (typeof sampler !== 'object' || sampler === null || typeof seconds !== 'number' || !(seconds >= 0)) {
    throw new RunError(
      'RUN_NO_CHECKPOINT',
      `train: the last checkpoint of ${folder.path} has no state of this program's; only 'lazy-attention train' writes one that can be resumed`,
    );
  }
  return { sampler: sampler as SamplerState, seconds };
}

function adamOptions(record: RunRecord) {
  const { weightDecay, maxNorm, optimizerDtype } = record.training;
  return { weightDecay, maxNorm, ...(optimizerDtype === 'bf16' ? { stateDType: optimizerDtype } : {}) };
}

function assemble(
  backend: Backend,
  record: RunRecord,
  dataset: Dataset,
  model: LazyTransformer,
  params: Params,
  optimizer: AdamW,
  state: SamplerState | undefined,
  step: number,
): Session {
  const { batch, seed, learningRate, warmupSteps, steps, floor } = record.training;
  return {
    backend,
    record,
    model,
    params,
    optimizer,
    sampler: createSampler(dataset.train, {
      context: record.model.context,
      batch,
      seed,
      ...(state === undefined ? {} : { state }),
    }),
    schedule: cosineSchedule({ peak: learningRate, warmupSteps, steps, floor }),
    trained: trainable(params, record.start?.trainOnly),
    lossAndGrads: addingGrad(backend, lossOf(record, model, params)),
    step,
  };
}

type StepBatch = ReturnType<typeof batchTensors> & { readonly marks?: Tensor; readonly count: number };

/** The loss as a function of what is trained; the rest of the parameters is constant. Pieces of a batch add up to its loss. */
function lossOf(record: RunRecord, model: LazyTransformer, params: Params) {
  const penalty = penaltyOf(record) / piecesOf(record);
  const { recompute, lossRows } = record.training;
  const penalised = penalisedLoss(model, penalty);
  return (ops: Ops, trained: Params, { marks, ...batch }: StepBatch): Tensor => {
    const all = { ...params, ...trained };
    return marks === undefined
      ? model.loss(ops, all, batch, { recompute, lossRows })
      : penalised(ops, all, batch, marks);
  };
}

function penaltyOf(record: RunRecord): number {
  return record.start?.sinkPenalty ?? 0;
}

/** Pieces that a batch is computed in. */
function piecesOf({ training: { batch, microBatch = batch } }: RunRecord): number {
  return batch / microBatch;
}

/** Launches one training step without waiting for the device; between the pieces of a batch others get their turn. */
export async function launchStep(session: Session): Promise<PendingStep> {
  const { backend, params, optimizer, sampler, record } = session;
  const step = session.step + 1;
  const anneal = record.start?.tauAnneal;
  if (anneal !== undefined) annealTau(backend, params, step, anneal);
  const { value, grads } = await batchGradients(session, sampler.next());
  const learningRate = session.schedule(step);
  const { gradNormSquared } = optimizer.step(grads, learningRate);
  disposeParams(grads);
  session.step = step;
  return { step, learningRate, loss: value, gradNormSquared };
}

/** Loss and gradients of a batch, piece by piece. The caller disposes them. */
async function batchGradients(session: Session, host: HostBatch): Promise<ValueAndGrad<Params>> {
  const { backend, trained, lossAndGrads, record, model } = session;
  const { batch, microBatch = batch } = record.training;
  let sum: ValueAndGrad<Params> | null = null;
  for (let row = 0; row < batch; row += microBatch) {
    if (sum !== null) await turn();
    const piece = rowsOf(host, row, microBatch);
    const marks = penaltyOf(record) === 0 ? {} : { marks: firstTokenMarks(backend, model.config, piece) };
    const { tokens, targets, starts = null } = batchTensors(backend, piece);
    const tensors = { tokens, targets, starts, ...marks };
    sum = lossAndGrads(trained, sum, { ...tensors, count: host.count });
    for (const tensor of Object.values(tensors)) tensor?.dispose();
  }
  return sum as ValueAndGrad<Params>;
}

/** Some rows of a batch. */
function rowsOf(
  host: HostBatch,
  row: number,
  rows: number,
): Pick<HostBatch, 'tokens' | 'targets' | 'starts' | 'batch' | 'length'> {
  const part = (x: Int32Array) => x.subarray(row * host.length, (row + rows) * host.length);
  return {
    tokens: part(host.tokens),
    targets: part(host.targets),
    starts: host.starts && part(host.starts),
    batch: rows,
    length: host.length,
  };
}

/**
 * Waits for a launched step and reads its loss.
 * @throws TrainingError when the loss or the gradient's norm is not finite
 */
export async function settleStep(pending: PendingStep): Promise<StepResult> {
  try {
    const [[loss], [squared]] = await Promise.all([pending.loss.data(), pending.gradNormSquared.data()]);
    const gradNorm = Math.sqrt(squared);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
      throw diverged(`${what} at step ${pending.step}`, pending.step);
    }
    return { step: pending.step, learningRate: pending.learningRate, loss, gradNorm };
  } finally {
    pending.loss.dispose();
    pending.gradNormSquared.dispose();
  }
}

/**
 * The loss that a step reports is from before its update, so it says nothing of the weights that a checkpoint holds:
 * these are tried on one window before an older checkpoint may give way.
 * @throws TrainingError when the loss is not finite
 */
export async function checkUsable(session: Session, dataset: Dataset): Promise<void> {
  const { backend, model, params, step, record } = session;
  const { lossRows } = record.training;
  const [window] = validationBatches(dataset.train, { context: model.config.context, batch: 1, maxWindows: 1 });
  const batch = batchTensors(backend, window);
  const tensor = backend.scope(() => model.loss(backend, params, batch, { lossRows }));
  const [loss] = await tensor.data();
  for (const used of [tensor, ...Object.values(batch)]) used?.dispose();
  if (!Number.isFinite(loss)) throw diverged(`loss is ${loss} with the weights after step ${step}`, step);
}

function diverged(what: string, step: number): TrainingError {
  return new TrainingError(
    `train: the ${what}; stopped, and the last checkpoint is from before; try a lower --lr`,
    step,
  );
}

export async function saveSession(session: Session, folder: RunFolder, seconds: number, keep: number): Promise<void> {
  const { model, params, optimizer, step, sampler } = session;
  const state = { sampler: { ...sampler.state() }, seconds };
  await saveCheckpoint(folder.checkpoints, { model, params, optimizer, step, state, keep });
}

export function disposeSession(session: Session): void {
  disposeParams(session.params);
  session.optimizer.dispose();
}
