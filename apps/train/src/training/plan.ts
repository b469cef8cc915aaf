import type { Backend } from '@lazy-attention/core';
import { type Dataset, loadDataset } from '@lazy-attention/data';
import { type AttentionKind, lazyTransformer, type PresetName, preset } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { type Rhythm, RUN_VERSION, type RunRecord } from '../run/record.ts';
import { absoluteSource } from './data.ts';
import { TRAINING_DEFAULTS } from './defaults.ts';

/** What decides what a run computes, as a command line gives it; what was not given is undefined. */
export interface PlanOptions {
  preset?: PresetName;
  attention?: AttentionKind;
  dtype?: 'f32' | 'bf16' | 'f16';
  steps?: number;
  batch?: number;
  context?: number;
  window?: number;
  lr?: number;
  warmup?: number;
  floor?: number;
  weightDecay?: number;
  clip?: number;
  seed?: number;
  validation?: number;
  tokenizer?: string;
  format?: string;
  field?: string;
  column?: string;
}

/** What changes nothing that is computed, and may be given anew when a run is resumed. */
export interface RhythmOptions {
  evalEvery?: number;
  evalWindows?: number;
  finalEvalWindows?: number;
  checkpointEvery?: number;
  keep?: number;
  prompt?: string;
  sampleTokens?: number;
}

/**
 * Fills in what was not given, loads the data, and checks all of it, before any folder is made.
 * @throws UsageError, DataError, ConfigError
 */
export async function planRun(
  backend: Backend,
  source: string,
  options: PlanOptions & RhythmOptions,
): Promise<{ record: RunRecord; dataset: Dataset }> {
  if (options.dtype !== undefined && !backend.dtypes.has(options.dtype)) {
    throw new UsageError(
      `train: --dtype ${options.dtype} is not among the types of backend '${backend.name}' (${[...backend.dtypes].join(', ')})`,
    );
  }
  const name = options.preset ?? suitablePreset(backend);
  const defaults = TRAINING_DEFAULTS[name];
  const context = options.context ?? preset(name).context;
  const data = given({ format: options.format, field: options.field, column: options.column });
  const validation = options.validation ?? 0.1;
  const dataset = await loadDataset(source, {
    ...(data as object),
    context,
    validation,
    ...(options.tokenizer === undefined ? {} : { tokenizer: options.tokenizer }),
  });
  const steps = options.steps ?? defaults.steps;
  if (options.warmup !== undefined && options.warmup > steps) {
    throw new UsageError(`train: --warmup is ${options.warmup}, more than the ${steps} steps of the run`);
  }
  const record: RunRecord = {
    version: RUN_VERSION,
    createdAt: new Date().toISOString(),
    command: ['lazy-attention', ...process.argv.slice(2)].join(' '),
    preset: name,
    model: lazyTransformer(
      preset(name, {
        ...given({ attention: options.attention, window: options.window }),
        context,
        vocabSize: dataset.tokenizer.vocabSize,
        ...(options.dtype === undefined || options.dtype === 'f32' ? {} : { computeDType: options.dtype }),
      }),
    ).config,
    data: {
      source: absoluteSource(source),
      options: data,
      tokenizer: dataset.tokenizer.toJSON(),
      fingerprint: dataset.fingerprint,
      validation,
    },
    training: {
      steps,
      batch: options.batch ?? defaults.batch,
      learningRate: options.lr ?? defaults.learningRate,
      warmupSteps: options.warmup ?? Math.min(100, Math.ceil(steps / 10)),
      floor: options.floor ?? 0.1,
      weightDecay: options.weightDecay ?? 0.1,
      maxNorm: options.clip === 0 ? null : (options.clip ?? 1),
      seed: options.seed ?? 0,
    },
    ...withRhythm({ rhythm: defaultRhythm(steps), sample: { prompt: defaultPrompt(dataset), tokens: 200 } }, options),
    environment: environment(backend),
  };
  return { record, dataset };
}

/** The record's rhythm and sample, with what was given in their place. @throws UsageError for an empty prompt */
export function withRhythm<T extends Pick<RunRecord, 'rhythm' | 'sample'>>(record: T, options: RhythmOptions): T {
  if (options.prompt === '') {
    throw new UsageError('train: --prompt is empty; give at least one character, or leave it out');
  }
  const { evalEvery, evalWindows, finalEvalWindows, checkpointEvery, keep, prompt, sampleTokens } = options;
  return {
    ...record,
    rhythm: { ...record.rhythm, ...given({ evalEvery, evalWindows, finalEvalWindows, checkpointEvery, keep }) },
    sample: { ...record.sample, ...given({ prompt, tokens: sampleTokens }) },
  };
}

function defaultRhythm(steps: number): Rhythm {
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

/** An option that would change what a recorded run computes is refused, not ignored. */
export function refuseChanges(
  command: string,
  source: string | undefined,
  options: PlanOptions,
  record: RunRecord,
): void {
  const { model, training, data } = record;
  const pairs: Record<string, [asked: unknown, recorded: unknown]> = {
    DATA: [source === undefined ? undefined : absoluteSource(source), data.source],
    '--preset': [options.preset, record.preset],
    '--attention': [options.attention, model.attention],
    '--dtype': [options.dtype, model.computeDType ?? 'f32'],
    '--context': [options.context, model.context],
    '--window': [options.window, model.window],
    '--steps': [options.steps, training.steps],
    '--batch': [options.batch, training.batch],
    '--lr': [options.lr, training.learningRate],
    '--warmup': [options.warmup, training.warmupSteps],
    '--floor': [options.floor, training.floor],
    '--weight-decay': [options.weightDecay, training.weightDecay],
    '--clip': [options.clip, training.maxNorm ?? 0],
    '--seed': [options.seed, training.seed],
    '--validation': [options.validation, data.validation],
    '--format': [options.format, data.options.format],
    '--field': [options.field, data.options.field],
    '--column': [options.column, data.options.column],
  };
  if (options.tokenizer !== undefined) {
    throw new UsageError(`${command}: --tokenizer cannot be given with --resume; the run keeps its tokeniser`);
  }
  for (const [name, [asked, recorded]] of Object.entries(pairs)) {
    if (asked !== undefined && asked !== recorded) {
      throw new UsageError(
        `${command}: ${name} is ${String(asked)}, but the run was started with ${String(recorded)}; leave it out to resume, or start a new run`,
      );
    }
  }
}

function environment(backend: Backend): RunRecord['environment'] {
  return {
    backend: backend.name,
    device: backend.device,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
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
