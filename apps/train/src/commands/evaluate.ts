import { createBackend } from '@lazy-attention/core';
import { loadDataset, type TokenSplit, validationBatches } from '@lazy-attention/data';
import { lazyTransformer } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { evaluationText } from '../output/summary.ts';
import { type LoadedArgument, loadArgument, type ModelArgument, openArgument } from '../run/model.ts';
import { type BandLoss, lossByPosition } from '../training/by-position.ts';
import { EMBEDDED, loadRunData } from '../training/data.ts';
import { evaluate, evaluationOf, type RunningOptions } from '../training/evaluate.ts';

export interface EvaluateCommandOptions {
  data?: string;
  format?: 'text' | 'jsonl' | 'parquet' | 'folder';
  field?: string;
  column?: string;
  context?: number;
  windows: number;
  batch?: number;
  /** Losses by position, too. */
  byPosition?: boolean;
  backend: string;
  json?: boolean;
}

/** Tokens per sequence of a model that was not trained here, if it takes as many: its own context may be longer than a text. */
const USUAL_CONTEXT = 512;
/** Sequences at a time, where the run does not say that fewer fit. */
const USUAL_BATCH = 8;

/** `lazy-attention eval MODEL`: loss, perplexity, bits per byte, sparsity and sinks. */
export async function evaluateCommand(path: string, options: EvaluateCommandOptions): Promise<void> {
  const argument = await openArgument(path);
  const { opened, run } = argument;
  const backend = await createBackend(options.backend);
  try {
    const loaded = await loadArgument(backend, argument);
    const model = lazyTransformer({ ...loaded.model.config, context: contextOf(argument, options) });
    const split = await chooseSplit(argument, loaded, model.config.context, options);
    const how: RunningOptions = run === null ? { batch: USUAL_BATCH } : evaluationOf(run.record);
    const evaluation = await evaluate(backend, model, loaded.params, split, {
      ...how,
      batch: options.batch ?? Math.min(USUAL_BATCH, how.batch),
      windows: options.windows,
    });
    const batches = () =>
      validationBatches(split, { context: model.config.context, batch: 1, maxWindows: options.windows });
    const bands = options.byPosition ? await lossByPosition(backend, model, loaded.params, batches(), how) : null;
    console.log(
      options.json
        ? JSON.stringify({
            ...(run === null ? { model: path } : { run: run.folder.path }),
            step: opened.step,
            data: options.data ?? run?.record.data.source ?? EMBEDDED,
            ...evaluation.headline,
            attention: evaluation.attention,
            ...(bands && { byPosition: bands }),
          })
        : `${headOf(path, argument, options)}\n${evaluationText(evaluation)}${bands === null ? '' : bandsText(bands, opened.config.context)}`,
    );
  } finally {
    await opened.close();
    await backend.dispose();
  }
}

/** Whose loss it is, and on what text. */
function headOf(path: string, { opened, run }: ModelArgument, { data }: EvaluateCommandOptions): string {
  const on = data ?? (run === null ? EMBEDDED : `the held-out part of ${run.record.data.source}`);
  const step = opened.step === null ? '' : `, step ${opened.step}`;
  return `${run?.folder.path ?? path}${step}, on ${on}`;
}

/** A run may be tried on more tokens than it was trained on. @throws UsageError for more than another model takes */
function contextOf({ opened, run }: ModelArgument, { context }: EvaluateCommandOptions): number {
  const most = opened.config.context;
  if (context === undefined) return opened.step === null ? Math.min(most, USUAL_CONTEXT) : most;
  if (context <= most || run !== null) return context;
  throw new UsageError(`eval: --context is ${context}; the model takes ${most} tokens at most`);
}

function bandsText(bands: readonly BandLoss[], trained: number): string {
  const lines = bands.map(({ from, to, loss }) => {
    const where = `${from} to ${to - 1}`.padEnd(18);
    return `  ${where}  ${loss === null ? 'no targets' : loss.toFixed(4)}${from >= trained ? '  beyond training' : ''}`;
  });
  return `\nloss by position, nats per token\n${lines.join('\n')}`;
}

/** The run's own held-out part, all of another text, or the embedded book. */
async function chooseSplit(
  { run }: ModelArgument,
  { tokenizer }: LoadedArgument,
  context: number,
  options: EvaluateCommandOptions,
): Promise<TokenSplit> {
  if (options.data !== undefined || run === null) {
    const { train } = await loadDataset(options.data ?? EMBEDDED, {
      context,
      tokenizer,
      validation: 0,
      ...(options.format === undefined ? {} : { format: options.format }),
      ...(options.field === undefined ? {} : { field: options.field }),
      ...(options.column === undefined ? {} : { column: options.column }),
    });
    return train;
  }
  for (const name of ['format', 'field', 'column'] as const) {
    if (options[name] !== undefined) throw new UsageError(`eval: --${name} goes with --data; the run has its own`);
  }
  const { validation } = await loadRunData(run.record);
  if (validation === null) {
    throw new UsageError('eval: this run held nothing out (--validation 0); name a text to evaluate on with --data');
  }
  return validation;
}
