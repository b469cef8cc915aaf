import { basename } from 'node:path';
import type { Backend } from '@lazy-attention/core';
import type { Dataset, Tokenizer } from '@lazy-attention/data';
import {
  type AttentionKind,
  attentionKind,
  ConfigError,
  lazyTransformer,
  type MemoryPlan,
  type PresetName,
  preset,
} from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { flagOf, flagOfField, OPTION_ROWS, recordedValue, recordSection } from '../options/rows.ts';
import type { PlanOptions } from '../options/table.ts';
import { requireShare } from '../ranks/same.ts';
import { openArgument, tokenizerOf } from '../run/model.ts';
import { programVersion } from '../run/program.ts';
import { type Intervals, RUN_VERSION, type RunRecord, type TrainingRecord } from '../run/record.ts';
import { absoluteSource, framingOf, isTask, openDataset, type Reading } from './data.ts';
import {
  FROM_CONTEXT,
  FROM_DEFAULTS,
  TASK_CONTEXT,
  TASK_DEFAULTS,
  TASK_PRESET,
  TRAINING_DEFAULTS,
  type TrainingDefaults,
} from './defaults.ts';
import { refuseStranger } from './distill.ts';
import { refuseTooLarge } from './memory.ts';
import { hasBias, hasTau, startConfig } from './start.ts';

/** By whom and for what a plan is made, where that is not one process and one kind of attention. */
export interface PlanScope {
  /** Processes that share each batch. */
  readonly ranks?: number;
  /** Kinds of attention that are trained alike: an option has a use when one of them has one for it. Default: the model's. */
  readonly kinds?: readonly AttentionKind[];
}

/** Of the byte tokenizer, for checks that do not depend on it. */
const SOME_VOCABULARY = 256;

/**
 * Fills in what was not given, loads the data, and checks all of it, before any folder is made. What needs no data is checked
 * before that is read.
 * @throws UsageError, DataError, ConfigError, RunError
 */
export async function planRun(
  backend: Backend,
  source: string,
  options: PlanOptions,
  reading: Reading = {},
  { ranks = 1, kinds }: PlanScope = {},
): Promise<{ record: RunRecord; dataset: Dataset; memory: MemoryPlan }> {
  if (options.dtype !== undefined && !backend.dtypes.has(options.dtype)) {
    throw new UsageError(
      `train: --dtype ${options.dtype} is not among the types of backend '${backend.name}' (${[...backend.dtypes].join(', ')})`,
    );
  }
  if (options.optimizerDtype !== undefined && !backend.dtypes.has(options.optimizerDtype)) {
    throw new UsageError(
      `train: --optimizer-dtype ${options.optimizerDtype} is not among the types of backend '${backend.name}' (${[...backend.dtypes].join(', ')})`,
    );
  }
  if (isTask(source) && (options.tokenizer !== undefined || options.from !== undefined)) {
    const flag = options.from === undefined ? '--tokenizer' : '--from';
    throw new UsageError(`train: ${flag} has no use for ${source}, whose letters are bytes; leave it out`);
  }
  const { name, defaults, context, tokenizer, configOf } = await planModel(backend, source, options);
  const steps = options.steps ?? defaults.steps;
  if (options.warmup !== undefined && options.warmup > steps) {
    throw new UsageError(`train: --warmup is ${options.warmup}, more than the ${steps} steps of the run`);
  }
  refuseFraming(source, options);
  const batch = options.batch ?? defaults.batch;
  refuseUneven(batch, options.microBatch);
  requireShare(ranks, { batch, microBatch: options.microBatch });
  const config = configOf(SOME_VOCABULARY);
  refusePenaltyWith(options, kinds ?? [config.attention]);
  refuseUnused(config, options, kinds);
  refuseStart(options);
  const data = recordSection('data.options', options) as RunRecord['data']['options'];
  const validation = options.validation ?? 0.1;
  const dataset = await openDataset(source, data, {
    context,
    validation,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...framingOf(options),
    ...reading,
  });
  const model = configOf(dataset.tokenizer.vocabSize);
  const record: RunRecord = {
    version: RUN_VERSION,
    createdAt: new Date().toISOString(),
    command: ['lazy-attention', ...process.argv.slice(2)].join(' '),
    preset: name,
    model,
    data: {
      source: absoluteSource(source),
      options: data,
      tokenizer: dataset.tokenizer.toJSON(),
      fingerprint: dataset.fingerprint,
      validation,
      ...recordSection('data', { bos: options.bos, eos: options.eos }),
    },
    training: recordSection('training', {
      lr: defaults.learningRate,
      warmup: Math.min(100, Math.ceil(steps / 10)),
      floor: 0.1,
      weightDecay: 0.1,
      clip: 1,
      seed: 0,
      ...given(options),
      batch,
      steps,
    }) as unknown as TrainingRecord,
    ...(await startOf(options, model)),
    ...withIntervals(
      { rhythm: defaultIntervals(steps), sample: { prompt: defaultPrompt(dataset), tokens: 200 } },
      options,
    ),
    environment: environment(backend),
  };
  return { record, dataset, memory: refuseTooLarge(backend, record, ranks) };
}

/** Pieces of a batch are of one size, so that each weighs what its targets weigh and all take the same memory. */
function refuseUneven(batch: number, microBatch: number | undefined): void {
  if (microBatch === undefined || batch % microBatch === 0) return;
  const below = Array.from({ length: Math.min(batch, microBatch) }, (_, i) => i + 1).filter((n) => batch % n === 0);
  throw new UsageError(
    `train: --micro-batch ${microBatch} does not divide --batch ${batch}; choose ${below.at(-1)}, or another --batch`,
  );
}

/** The penalty looks into every layer, where the op `attention` gives the weights, and at all logits, a teacher at these. */
function refusePenaltyWith(options: PlanOptions, kinds: readonly AttentionKind[]): void {
  const composed = kinds.find((kind) => 'attend' in attentionKind(kind));
  if (options.sinkPenalty && composed !== undefined) {
    throw new UsageError(
      `train: --sink-penalty needs the weights of the op 'attention', and ${composed} attention is made of other ops; leave one of them out`,
    );
  }
  const asked = options.sinkPenalty ? '--sink-penalty' : options.distill === undefined ? null : '--distill';
  if (asked === null) return;
  for (const [given, flag] of [
    [options.recompute, '--recompute'],
    [options.lossRows !== undefined, '--loss-rows'],
  ] as const) {
    if (given) throw new UsageError(`train: ${flag} does not go with ${asked}; leave one of them out`);
  }
}

/** Tokens around documents are those of the model that a run starts from, or of the task. */
function refuseFraming(source: string, options: PlanOptions): void {
  const given = options.bos === undefined ? (options.eos === undefined ? null : '--eos') : '--bos';
  if (given === null) return;
  if (isTask(source)) throw new UsageError(`train: ${given} has no use for ${source}; leave it out`);
  if (options.from !== undefined)
    throw new UsageError(`train: ${given} does not go with --from, whose model has its own`);
}

/** What the model decides of a run. */
interface ModelPlan {
  /** Of the preset, or of the model that the run starts from. */
  readonly name: string;
  readonly defaults: TrainingDefaults;
  readonly context: number;
  readonly tokenizer: string | Tokenizer | undefined;
  configOf(vocabSize: number): RunRecord['model'];
}

async function planModel(backend: Backend, source: string, options: PlanOptions): Promise<ModelPlan> {
  if (options.from !== undefined) return planFrom(options.from, options);
  const task = isTask(source);
  const name = options.preset ?? (task ? TASK_PRESET : suitablePreset(backend));
  const context = options.context ?? (task ? TASK_CONTEXT : preset(name).context);
  const computeDType = computeDTypeOf(options);
  const { attention, window, ropeBase, layers: numLayers, heads: numHeads, kvHeads: numKvHeads } = options;
  const { width: hiddenSize, mlpWidth: intermediateSize, tie: tieEmbeddings } = options;
  const shape = { numLayers, numHeads, numKvHeads, hiddenSize, intermediateSize, tieEmbeddings, ropeBase };
  return {
    name,
    context,
    defaults: task && name !== TASK_PRESET ? TASK_DEFAULTS : TRAINING_DEFAULTS[name],
    tokenizer: options.tokenizer,
    configOf: (vocabSize) => {
      const all = { ...given({ attention, window, ...shape }), context, vocabSize, computeDType };
      return inFlags(() => lazyTransformer(preset(name, all)).config);
    },
  };
}

/** A shape that cannot be, in the words of the command line. */
function inFlags<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ConfigError) || error.key === null) throw error;
    throw new UsageError(`train: ${error.fault((key) => flagOfField(`model.${key}`) ?? key)}`);
  }
}

/** Of the forward pass: null is that of the weights. */
function computeDTypeOf({ dtype }: PlanOptions): RunRecord['model']['computeDType'] {
  return dtype === undefined || dtype === 'f32' ? null : dtype;
}

/** A run that starts from another model has its shape and its tokenizer. */
async function planFrom(from: string, options: PlanOptions): Promise<ModelPlan> {
  for (const [flag, value] of [
    ['--preset', options.preset],
    ['--tokenizer', options.tokenizer],
    ['--layers', options.layers],
    ['--heads', options.heads],
    ['--kv-heads', options.kvHeads],
    ['--width', options.width],
    ['--mlp-width', options.mlpWidth],
    ['--tie', options.tie],
    ['--rope-base', options.ropeBase],
    ['--bias-init', options.biasInit],
  ] as const) {
    if (value !== undefined) throw new UsageError(`train: ${flag} does not go with --from, whose model has its own`);
  }
  const { opened } = await openArgument(from);
  try {
    const tokenizer = tokenizerOf(opened);
    const context = options.context ?? Math.min(FROM_CONTEXT, opened.config.context);
    const config = startConfig(opened.config, {
      attention: options.attention,
      window: options.window,
      context,
      computeDType: computeDTypeOf(options),
    });
    const name = basename(from)
      .replace(/[^\w.-]/g, '-')
      .slice(0, 64);
    return { name, defaults: FROM_DEFAULTS, context, tokenizer, configOf: () => config };
  } finally {
    await opened.close();
  }
}

/** Tau and bias of attention are not what every kind has. */
function refuseUnused(
  config: RunRecord['model'],
  options: PlanOptions,
  kinds: readonly AttentionKind[] = [config.attention],
): void {
  const models = kinds.map((attention) => lazyTransformer({ ...config, attention }));
  for (const [flag, value, what, has] of [
    ['--tau', options.tau, 'tau', hasTau],
    ['--tau-anneal', options.tauAnneal, 'tau', hasTau],
    ['--tau-rate', options.tauRate, 'tau', hasTau],
    ['--bias-rate', options.biasRate, 'bias', hasBias],
    ['--bias-init', options.biasInit, 'bias', hasBias],
  ] as const) {
    if (value === undefined || models.some(has)) continue;
    throw new UsageError(
      `train: ${flag} needs a ${what}, which ${kinds.join(' and ')} attention has not; choose --attention lazy`,
    );
  }
}

function refuseStart({ from, tauAnneal, distill, distillShare }: PlanOptions): void {
  if (from === undefined && tauAnneal !== undefined) {
    throw new UsageError('train: --tau-anneal goes with --from; a model trained from scratch begins with tau -1');
  }
  if (distill === undefined && distillShare !== undefined) {
    throw new UsageError('train: --distill-share goes with --distill MODEL');
  }
}

/** The record's section on what a run starts from and goes towards; none where nothing was said. */
async function startOf(options: PlanOptions, config: RunRecord['model']): Promise<Pick<RunRecord, 'start'>> {
  const start = recordSection('start', options) as NonNullable<RunRecord['start']>;
  if (Object.keys(start).length === 0) return {};
  if (start.distill === undefined) return { start };
  const { opened } = await openArgument(start.distill);
  try {
    refuseStranger(start.distill, opened.config, config);
  } finally {
    await opened.close();
  }
  return { start };
}

/** The record's rhythm and sample, with what was given in their place. */
export function withIntervals<T extends Pick<RunRecord, 'rhythm' | 'sample'>>(record: T, options: PlanOptions): T {
  return {
    ...record,
    rhythm: { ...record.rhythm, ...recordSection('rhythm', given(options)) },
    sample: { ...record.sample, ...recordSection('sample', given(options)) },
  };
}

function defaultIntervals(steps: number): Intervals {
  const fifth = Math.max(1, Math.round(steps / 5));
  return { evalEvery: fifth, evalWindows: 32, finalEvalWindows: 256, checkpointEvery: fifth, keep: 2 };
}

/** The first held-out words of one document, so that what follows can be compared with what really follows. */
function defaultPrompt(dataset: Dataset): string {
  const { store, segmentStarts, offsets } = dataset.validation ?? dataset.train;
  const tokens = new Int32Array(Math.min(48, offsets[1] - offsets[0]));
  store.read(segmentStarts[0], tokens.length, tokens, 0);
  // A cut may fall inside a character, at both ends.
  const text = dataset.tokenizer.decode(tokens).replaceAll('\ufffd', '').replace(/\s+/g, ' ').trim();
  const lastSpace = text.lastIndexOf(' ');
  const words = lastSpace > 0 ? text.slice(0, lastSpace) : text;
  return words === '' ? '\n' : words;
}

/** The record of a run that is to go on to `steps`; undefined or as recorded changes nothing. */
export function extended(record: RunRecord, steps: number | undefined): RunRecord {
  const { training } = record;
  if (steps === undefined || steps === training.steps) return record;
  if (steps < training.steps) {
    throw new UsageError(
      `train: --steps is ${steps}, but the run was started with ${training.steps}; give more to extend it, or leave it out to resume`,
    );
  }
  return { ...record, training: { ...training, steps, scheduleSteps: training.scheduleSteps ?? training.steps } };
}

/** An option that would change what a recorded run computes is refused, not ignored. */
export function refuseChanges(
  command: string,
  source: string | undefined,
  options: PlanOptions,
  record: RunRecord,
): void {
  const refuse = (name: string, asked: unknown, recorded: unknown) => {
    throw new UsageError(
      `${command}: ${name} is ${String(asked)}, but the run was started with ${String(recorded)}; leave it out to resume, or start a new run`,
    );
  };
  if (source !== undefined && absoluteSource(source) !== record.data.source) {
    refuse('DATA', absoluteSource(source), record.data.source);
  }
  for (const [key, option] of OPTION_ROWS) {
    const asked = options[key];
    if (asked === undefined || option.resume === 'free') continue;
    if (option.resume === 'refused') {
      throw new UsageError(`${command}: ${flagOf(option)} cannot be given with --resume; the run keeps its own`);
    }
    const recorded = recordedValue(option, record);
    if (JSON.stringify(asked) !== JSON.stringify(recorded)) refuse(flagOf(option), asked, recorded);
  }
}

function environment(backend: Backend): RunRecord['environment'] {
  return {
    backend: backend.name,
    device: backend.device,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    ...programVersion(),
  };
}

/** The preset that trains in minutes on this backend, for when none was asked for. */
function suitablePreset(backend: Backend): PresetName {
  const slow = backend.name === 'reference' || backend.name === 'tfjs' || /llvmpipe|swiftshader/i.test(backend.device);
  return slow ? 'pico' : 'nano';
}

function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
