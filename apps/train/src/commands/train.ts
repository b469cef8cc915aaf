import { writeFileSync } from 'node:fs';
import { type Backend, createBackend } from '@lazy-attention/core';
import { type Dataset, loadDataset } from '@lazy-attention/data';
import { type AttentionKind, lazyTransformer, type PresetName, preset } from '@lazy-attention/nn';
import { catchInterrupt, type Interrupt } from '../cli/interrupt.ts';
import { UsageError } from '../errors.ts';
import { count } from '../output/format.ts';
import { createReporter, type Reporter } from '../output/reporter.ts';
import { summaryText } from '../output/summary.ts';
import { writeError, writeWhole } from '../run/files.ts';
import { createRun, freeFolder, openRun, type RunFolder } from '../run/folder.ts';
import { RUN_VERSION, type RunRecord } from '../run/record.ts';
import { absoluteSource, EMBEDDED, loadRunData } from '../training/data.ts';
import { TRAINING_DEFAULTS } from '../training/defaults.ts';
import { collect, continueText } from '../training/sample.ts';
import { disposeSession } from '../training/session.ts';
import { type Rhythm, type TrainOutcome, train } from '../training/train.ts';

/** Options of `lazy-attention train` as commander gives them; what was not given is undefined. */
export interface TrainOptions {
  preset?: PresetName;
  attention?: AttentionKind;
  backend: string;
  dtype?: 'f32' | 'bf16' | 'f16';
  out?: string;
  resume?: boolean;
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
  evalEvery?: number;
  evalWindows: number;
  finalEvalWindows: number;
  checkpointEvery?: number;
  keep: number;
  prompt?: string;
  sampleTokens: number;
  json?: boolean;
}

/** `lazy-attention train [DATA]`; returns the exit code. */
export async function trainCommand(source: string | undefined, options: TrainOptions): Promise<number> {
  const reporter = createReporter(options.json ? 'json' : 'auto');
  const interrupt = catchInterrupt(() => reporter.say('Stopping after this step; once more to stop at once.'));
  let backend: Backend | undefined;
  try {
    const started = options.resume ? await resume(source, options, reporter) : await begin(source, options, reporter);
    backend = started.backend;
    return await runToEnd(started, options, reporter, interrupt);
  } finally {
    interrupt.end();
    reporter.close();
    await backend?.dispose();
  }
}

interface Started {
  readonly backend: Backend;
  readonly folder: RunFolder;
  readonly record: RunRecord;
  readonly dataset: Dataset;
}

/** A new run: everything is checked before the folder is made. */
async function begin(source: string = EMBEDDED, options: TrainOptions, reporter: Reporter): Promise<Started> {
  const backend = await createBackend(options.backend);
  try {
    const name = options.preset ?? suitablePreset(backend);
    const defaults = TRAINING_DEFAULTS[name];
    const config = preset(name);
    const context = options.context ?? config.context;
    const data = given({ format: options.format, field: options.field, column: options.column });
    const validation = options.validation ?? 0.1;
    const dataset = await loadDataset(source, {
      ...(data as object),
      context,
      validation,
      ...(options.tokenizer === undefined ? {} : { tokenizer: options.tokenizer }),
    });
    const steps = options.steps ?? defaults.steps;
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
      environment: environment(backend),
    };
    if (options.dtype !== undefined && !backend.dtypes.has(options.dtype)) {
      throw new UsageError(
        `train: --dtype ${options.dtype} is not among the types of backend '${backend.name}' (${[...backend.dtypes].join(', ')})`,
      );
    }
    const out = options.out ?? freeFolder(`runs/${name}-${record.model.attention}`);
    const folder = createRun(out, record);
    announce(reporter, backend, record, dataset, `into ${out}`);
    return { backend, folder, record, dataset };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

/** The run in --out, as it was started. An option that would change what it computes is refused, not ignored. */
async function resume(source: string | undefined, options: TrainOptions, reporter: Reporter): Promise<Started> {
  if (options.out === undefined) throw new UsageError('train: --resume needs the folder of the run: --out FOLDER');
  const { folder, record } = openRun(options.out);
  refuseChanges(source, options, record);
  const backend = await createBackend(options.backend);
  try {
    const dataset = await loadRunData(record);
    announce(reporter, backend, record, dataset, `on with ${options.out}`);
    return { backend, folder, record, dataset };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

function refuseChanges(source: string | undefined, options: TrainOptions, record: RunRecord): void {
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
    throw new UsageError('train: --tokenizer cannot be given with --resume; the run keeps its tokeniser');
  }
  for (const [name, [asked, recorded]] of Object.entries(pairs)) {
    if (asked !== undefined && asked !== recorded) {
      throw new UsageError(
        `train: ${name} is ${String(asked)}, but the run was started with ${String(recorded)}; leave it out to resume, or start a new run`,
      );
    }
  }
}

async function runToEnd(
  { backend, folder, record, dataset }: Started,
  options: TrainOptions,
  reporter: Reporter,
  interrupt: Interrupt,
): Promise<number> {
  const outcome = await train(backend, record, folder, dataset, {
    resume: options.resume === true,
    rhythm: rhythmOf(options, record),
    listener: reporter,
    signal: interrupt.signal,
  });
  try {
    if (outcome.interrupted) {
      const at = outcome.session.step;
      reporter.say(`Saved at step ${at}. Go on with: lazy-attention train --resume --out ${folder.path}`);
      return interrupt.exitCode();
    }
    await finish(outcome, folder, dataset, options, reporter);
    return 0;
  } finally {
    disposeSession(outcome.session);
  }
}

async function finish(
  { session, evaluation }: TrainOutcome,
  folder: RunFolder,
  dataset: Dataset,
  options: TrainOptions,
  reporter: Reporter,
): Promise<void> {
  const prompt = options.prompt ?? defaultPrompt(dataset);
  const pieces = continueText(session.backend, session.model, session.params, dataset.tokenizer, prompt, {
    maxNewTokens: options.sampleTokens,
    temperature: 0.8,
    topK: 40,
    seed: session.record.training.seed,
  });
  const sample = prompt + (await collect(pieces));
  try {
    writeFileSync(folder.sample, `${sample}\n`);
  } catch (error) {
    throw writeError(folder.sample, error);
  }
  const summary = { step: session.step, ...evaluation?.headline, sample, folder: folder.path };
  writeWhole(folder.summary, `${JSON.stringify({ ...summary, attention: evaluation?.attention }, null, 2)}\n`);
  reporter.close();
  reporter.result(summary, summaryText(session.record, evaluation, prompt, sample, folder.path));
}

function rhythmOf(options: TrainOptions, record: RunRecord): Rhythm {
  const fifth = Math.max(1, Math.round(record.training.steps / 5));
  return {
    evalEvery: options.evalEvery ?? fifth,
    evalWindows: options.evalWindows,
    finalEvalWindows: options.finalEvalWindows,
    checkpointEvery: options.checkpointEvery ?? fifth,
    keep: options.keep,
  };
}

function announce(reporter: Reporter, backend: Backend, record: RunRecord, dataset: Dataset, where: string): void {
  const { training, model } = record;
  reporter.say(
    `Training ${record.preset} (${model.attention} attention) on ${dataset.corpus.name}, ${count(dataset.train.length)} tokens, ${where}\n` +
      `Backend ${backend.name}: ${backend.device}; ${training.steps} steps of ${training.batch} x ${model.context} tokens`,
  );
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

/** The first held-out words, so that what follows can be compared with what really follows. */
function defaultPrompt(dataset: Dataset): string {
  const split = dataset.validation ?? dataset.train;
  const from = split.segmentStarts[0];
  const tokens = new Int32Array(Math.min(48, split.length));
  split.store.read(from, tokens.length, tokens, 0);
  const text = dataset.tokenizer.decode(tokens).replace(/\s+/g, ' ').trimStart();
  const lastSpace = text.lastIndexOf(' ');
  return lastSpace > 0 ? text.slice(0, lastSpace) : text;
}

function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
