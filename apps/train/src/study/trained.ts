import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { disposeParams, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { CompareRun } from '../compare/plan.ts';
import { loadTrained } from '../run/load.ts';
import { type EvalMetric, readMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { evaluate } from '../training/evaluate.ts';
import { type Figures, figuresOf } from './figures.ts';

/** A finished run, with what a study measures it by. */
export interface TrainedRun {
  readonly backend: Backend;
  readonly model: LazyTransformer;
  readonly params: Params;
  readonly record: RunRecord;
  readonly dataset: Dataset;
  /** Of the model as it is, on the held-out part. */
  readonly figures: Figures;
  /** Its evaluations during training. */
  readonly metrics: readonly EvalMetric[];
  /** Of the whole training. */
  readonly steps: number;
}

/** Loads a finished run and measures it as it is, for as long as `use` takes. */
export async function withTrained<T>(
  backend: Backend,
  { folder, record }: CompareRun,
  dataset: Dataset,
  use: (run: TrainedRun) => Promise<T>,
): Promise<T> {
  const { model, params } = await loadTrained(backend, folder, record);
  try {
    const { headline, attention } = await evaluate(backend, model, params, dataset.validation ?? dataset.train, {
      batch: record.training.batch,
      windows: record.rhythm.finalEvalWindows,
    });
    const metrics = readMetrics(folder.metrics).metrics.filter((metric) => metric.type === 'eval');
    const figures = { ...figuresOf(headline.loss, attention), ...(await tauFigure(params)) };
    return await use({ backend, model, params, record, dataset, figures, metrics, steps: record.training.steps });
  } finally {
    disposeParams(params);
  }
}

/** The mean tau of all heads after training. */
async function tauFigure(params: Params): Promise<Figures> {
  const taus = Object.entries(params).filter(([name]) => name.endsWith('.attn.tau'));
  const values = (await Promise.all(taus.map(([, tensor]) => tensor.data()))).flatMap((of) => Array.from(of));
  return values.length === 0 ? {} : { lastTau: values.reduce((sum, x) => sum + x, 0) / values.length };
}
