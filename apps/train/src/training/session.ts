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
  type AdamWConfig,
  type AdamWState,
  adamW,
  addingGrad,
  type Buckets,
  batchTensors,
  type Communicator,
  cosineSchedule,
  decaysByDefault,
  disposeParams,
  type LazyTransformer,
  lazyTransformer,
  oneProcess,
  type Params,
  type ShardedAdamW,
  shardedAdamW,
  summedInBuckets,
  type ValueAndGrad,
} from '@lazy-attention/nn';
import { loadCheckpoint, saveCheckpoint } from '@lazy-attention/nn/node';
import { RunError, TrainingError } from '../errors.ts';
import { checkpointOf, type RunFolder } from '../run/folder.ts';
import type { RunRecord } from '../run/record.ts';
import { disposeTeacher, loadTeacher, type Teacher, teacherPull } from './distill.ts';
import { objective, type StepBatch } from './objective.ts';
import { firstTokenMarks } from './sink-penalty.ts';
import { annealTau, firstParams, STATISTICS, trainable } from './start.ts';

/** Model, optimiser and sampler of one run on one backend: what a checkpoint holds, alive. */
export interface Session {
  readonly backend: Backend;
  readonly record: RunRecord;
  readonly model: LazyTransformer;
  readonly params: Params;
  /** Those of them that the optimiser moves. */
  readonly trained: Params;
  readonly optimizer: AdamW | ShardedAdamW;
  /** Whose predictions are learned, too. */
  readonly teacher: Teacher | null;
  readonly sampler: Sampler;
  readonly schedule: (step: number) => number;
  /** Of a piece of a batch, as a function of what is trained. Pieces add up to the loss of the batch. */
  readonly loss: (ops: Ops, trained: Params, batch: StepBatch) => Tensor;
  /** The processes that train it together. */
  readonly communicator: Communicator;
  /** Steps done. */
  step: number;
}

/** What the launch of one step leaves to wait for. */
export interface PendingStep {
  readonly step: number;
  readonly learningRate: number;
  readonly loss: Tensor;
  readonly gradNormSquared: Tensor;
  /** Some rank has been told to stop: all do after this step. */
  readonly stopping: boolean;
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
export async function newSession(
  backend: Backend,
  record: RunRecord,
  dataset: Dataset,
  communicator = oneProcess(),
): Promise<Session> {
  const model = lazyTransformer(record.model);
  const teacher = await teacherOf(backend, record);
  let params: Params = {};
  try {
    params = await firstParams(backend, record, model);
    const optimizer = optimizerOf(backend, record, trainable(params, record.start?.trainOnly), communicator);
    return assemble(backend, record, dataset, { model, params, optimizer, teacher, communicator, step: 0 });
  } catch (error) {
    disposeParams(params);
    disposeTeacher(teacher);
    throw error;
  }
}

/** The session as its last checkpoint left it, and the seconds it had trained. */
export async function resumeSession(
  backend: Backend,
  record: RunRecord,
  folder: RunFolder,
  dataset: Dataset,
  communicator = oneProcess(),
): Promise<{ session: Session; seconds: number }> {
  const model = lazyTransformer(record.model);
  const loaded = await loadCheckpoint(backend, await checkpointOf(folder), { model });
  if (loaded.optimizer === null) {
    throw new RunError('RUN_NO_CHECKPOINT', `train: the last checkpoint of ${folder.path} has no optimiser state`);
  }
  const { params, step } = loaded;
  const moved = trainable(params, record.start?.trainOnly);
  const optimizer = optimizerOf(backend, record, moved, communicator, loaded.optimizer);
  const state = savedState(loaded.state, folder);
  const teacher = await teacherOf(backend, record);
  const parts = { model, params, optimizer, teacher, communicator, state: state.sampler, step };
  return { session: assemble(backend, record, dataset, parts), seconds: state.seconds };
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

/** Of the whole state, or of this rank's part of it. */
function optimizerOf(
  backend: Backend,
  record: RunRecord,
  trained: Params,
  communicator: Communicator,
  state?: AdamWState,
): AdamW | ShardedAdamW {
  const options = { ...adamOptions(record), ...(state && { state }) };
  // Of one process a part is the whole.
  return record.training.shardOptimizer === true && communicator.size > 1
    ? shardedAdamW(backend, trained, communicator, options)
    : adamW(backend, trained, options);
}

function adamOptions({ training, start }: RunRecord): AdamWConfig {
  const { weightDecay, maxNorm, optimizerDtype, beta1, beta2, epsilon } = training;
  const { tauRate = 1, biasRate = 1 } = start ?? {};
  const { biasTauDecay = 0, biasTauFreeze = Number.POSITIVE_INFINITY } = training;
  return {
    weightDecay,
    maxNorm,
    beta1,
    beta2,
    epsilon,
    stateDType: optimizerDtype === 'bf16' ? optimizerDtype : undefined,
    decays: (name, param) => (STATISTICS.test(name) ? biasTauDecay : decaysByDefault(name, param)),
    multiples(name, step) {
      if (!STATISTICS.test(name)) return 1;
      return step > biasTauFreeze ? 0 : name.endsWith('.attn.tau') ? tauRate : biasRate;
    },
  };
}

async function teacherOf(backend: Backend, { start, model }: RunRecord): Promise<Teacher | null> {
  return start?.distill === undefined ? null : loadTeacher(backend, start.distill, model);
}

type Parts = Pick<Session, 'model' | 'params' | 'optimizer' | 'teacher' | 'communicator' | 'step'> & {
  readonly state?: SamplerState;
};

function assemble(backend: Backend, record: RunRecord, dataset: Dataset, { state, ...parts }: Parts): Session {
  const { batch, seed, learningRate, warmupSteps, steps, scheduleSteps = steps, floor } = record.training;
  const { rank, size } = parts.communicator;
  return {
    backend,
    record,
    ...parts,
    sampler: createSampler(dataset.train, {
      context: record.model.context,
      batch,
      seed,
      part: { index: rank, of: size },
      ...(state === undefined ? {} : { state }),
    }),
    schedule: cosineSchedule({ peak: learningRate, warmupSteps, steps: scheduleSteps, floor }),
    trained: trainable(parts.params, record.start?.trainOnly),
    loss: lossOf(record, parts.model, parts.params, size),
  };
}

/** As of `Session`; the rest of the parameters is constant. */
function lossOf(record: RunRecord, model: LazyTransformer, params: Params, ranks: number) {
  const { recompute, lossRows } = record.training;
  const { sinkPenalty = 0, distillShare } = record.start ?? {};
  const parts = ranks * piecesOf(record, ranks);
  const loss = objective(model, { sinkPenalty: sinkPenalty / parts, distillShare, recompute, lossRows });
  return (ops: Ops, trained: Params, batch: StepBatch): Tensor => loss(ops, { ...params, ...trained }, batch);
}

/** Pieces that a rank's part of a batch is computed in. */
function piecesOf({ training: { batch, microBatch = batch } }: RunRecord, ranks: number): number {
  return Math.max(1, batch / ranks / microBatch);
}

/**
 * Launches one training step without waiting for the device; between the pieces of a batch others get their turn. Several ranks
 * wait for one another's gradients. `stop`: this process has been told to stop.
 */
export async function launchStep(session: Session, stop = false): Promise<PendingStep> {
  const { backend, params, optimizer, sampler, record, communicator } = session;
  const step = session.step + 1;
  const anneal = record.start?.tauAnneal;
  if (anneal !== undefined) annealTau(backend, params, step, anneal);
  const host = sampler.next();
  const { value, grads, stopping } =
    communicator.size === 1
      ? { ...(await batchGradients(session, host)), stopping: Promise.resolve(false) }
      : await overRanks(session, host, stop);
  const learningRate = session.schedule(step);
  const { gradNormSquared } = await optimizer.step(grads, learningRate);
  disposeParams(grads);
  session.step = step;
  // Waited for when the device has the optimiser's step to do.
  return { step, learningRate, loss: value, gradNormSquared, stopping: await stopping };
}

/** Loss and gradients of a batch, piece by piece, each given to `sums` when it is whole. The caller disposes them. */
async function batchGradients(session: Session, host: HostBatch, sums?: Buckets): Promise<ValueAndGrad<Params>> {
  const { backend, trained, loss, record, model, teacher } = session;
  const { batch } = host;
  const microBatch = Math.min(record.training.microBatch ?? batch, batch);
  let sum: ValueAndGrad<Params> | null = null;
  for (let row = 0; row < batch; row += microBatch) {
    if (sum !== null) await turn();
    const piece = rowsOf(asTrained(record, host), row, microBatch);
    const { tokens, targets, starts = null } = batchTensors(backend, piece);
    const part = { tokens, targets, starts, count: host.count };
    const tensors = {
      tokens,
      targets,
      starts,
      ...((record.start?.sinkPenalty ?? 0) > 0 && { marks: firstTokenMarks(backend, model.config, piece) }),
      ...(teacher !== null && { pull: teacherPull(backend, teacher, part) }),
    };
    const last = row + microBatch === batch;
    sum = addingGrad(backend, loss, last ? sums?.add : undefined)(trained, sum, { ...tensors, count: host.count });
    for (const tensor of Object.values(tensors)) tensor?.dispose();
  }
  return sum as ValueAndGrad<Params>;
}

/** Loss and gradients of the whole batch: each rank's are of its rows, over the targets of all. */
async function overRanks(session: Session, host: HostBatch, stop: boolean) {
  const { backend, communicator, trained } = session;
  const bytes = Object.values(trained).reduce((total, { size }) => total + 4 * size, 0);
  const sums = summedInBuckets(backend, communicator, bytes);
  const { value, grads } = await batchGradients(session, host, sums);
  // A copy: fn's result may share its memory.
  const loss = backend.scale(value, 1);
  value.dispose();
  const flag = backend.tensor([stop ? 1 : 0], []);
  sums.add(loss);
  sums.add(flag);
  await sums.finish();
  const stopping = flag.data().then(([stops]) => stops > 0);
  // Its failure is seen when it is waited for.
  stopping.catch(() => {});
  flag.dispose();
  return { value: loss, grads, stopping };
}

/** A batch with its documents isolated or joined, as the run has it. */
export function asTrained<B extends { readonly starts: Int32Array | null }>({ training }: RunRecord, batch: B): B {
  return training.documents === 'joined' ? { ...batch, starts: null } : batch;
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
  const batch = batchTensors(backend, asTrained(record, window));
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

/** What a checkpoint has of the optimiser. All ranks call it, where its state is cut over them; null on all but rank 0 then. */
export async function optimizerState({ optimizer }: Session): Promise<HeldState | null> {
  if (!('gather' in optimizer)) return { state: () => optimizer.state(), dispose: () => {} };
  const whole = await optimizer.gather();
  if (whole === null) return null;
  return { state: () => whole, dispose: () => [whole.m, whole.v].forEach(disposeParams) };
}

interface HeldState {
  state(): AdamWState;
  dispose(): void;
}

/** Writes a checkpoint, on rank 0, whose `optimizer` is of `optimizerState`. */
export async function saveSession(
  session: Session,
  optimizer: HeldState,
  folder: RunFolder,
  seconds: number,
  keep: number,
): Promise<void> {
  const { model, params, step, sampler } = session;
  const state = { sampler: { ...sampler.state() }, seconds };
  await saveCheckpoint(folder.checkpoints, { model, params, optimizer, step, state, keep });
}

export function disposeSession(session: Session): void {
  disposeParams(session.params);
  disposeTeacher(session.teacher);
  session.optimizer.dispose();
}
