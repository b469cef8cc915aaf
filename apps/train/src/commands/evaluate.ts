import { createBackend } from '@lazy-attention/core';
import { loadDataset, type TokenSplit } from '@lazy-attention/data';
import { UsageError } from '../errors.ts';
import { evaluationText } from '../output/summary.ts';
import { openRun } from '../run/folder.ts';
import { loadTrained, type TrainedModel } from '../run/load.ts';
import type { RunRecord } from '../run/record.ts';
import { loadRunData } from '../training/data.ts';
import { evaluate } from '../training/evaluate.ts';

export interface EvaluateCommandOptions {
  data?: string;
  format?: 'text' | 'jsonl' | 'parquet' | 'folder';
  field?: string;
  column?: string;
  windows: number;
  batch: number;
  backend: string;
  json?: boolean;
}

/** `lazy-attention eval RUN`: loss, perplexity, bits per byte, sparsity and sinks of the last checkpoint. */
export async function evaluateCommand(run: string, options: EvaluateCommandOptions): Promise<void> {
  const { folder, record } = openRun(run);
  const backend = await createBackend(options.backend);
  try {
    const trained = await loadTrained(backend, folder, record);
    const split = await chooseSplit(record, trained, options);
    const { model, params, step } = trained;
    const evaluation = await evaluate(backend, model, params, split, {
      batch: options.batch,
      windows: options.windows,
    });
    console.log(
      options.json
        ? JSON.stringify({ run: folder.path, step, ...evaluation.headline, attention: evaluation.attention })
        : `${folder.path}, step ${step}\n${evaluationText(evaluation)}`,
    );
  } finally {
    await backend.dispose();
  }
}

/** The run's own held-out part, or all of another text. */
async function chooseSplit(
  record: RunRecord,
  trained: TrainedModel,
  options: EvaluateCommandOptions,
): Promise<TokenSplit> {
  if (options.data !== undefined) {
    const { train } = await loadDataset(options.data, {
      context: record.model.context,
      tokenizer: trained.tokenizer,
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
  const { validation } = await loadRunData(record);
  if (validation === null) {
    throw new UsageError('eval: this run held nothing out (--validation 0); name a text to evaluate on with --data');
  }
  return validation;
}
