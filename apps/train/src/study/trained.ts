import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { disposeParams, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { CompareRun } from '../compare/plan.ts';
import { loadTrained } from '../run/load.ts';
import { type EvalMetric, readMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { evaluate, evaluationOf } from '../training/evaluate.ts';
import { type Figures, figuresOf } from './figures.ts';

/** A finished run, with what a study measures it by. */
export interface TrainedRun {
  readonly backend: Backend;
  readonly model: LazyTransformer;
  readonly params: Params;
  readonly record: RunRecord;
  readonly dataset: Dataset;
  /** Of the model as it is, on the held-out part: measured when they are asked for. */
  figures(): Promise<Figures>;
  /** Its evaluations during training. */
  readonly metrics: readonly EvalMetric[];
  /** Ends what is measured. */
  readonly signal: AbortSignal;
}

/** Loads a finished run for as long as `use` takes. */
export async function withTrained<T>(
  backend: Backend,
  { folder, record }: CompareRun,
  dataset: Dataset,
  signal: AbortSignal,
  use: (run: TrainedRun) => Promise<T>,
): Promise<T> {
  const { model, params } = await loadTrained(backend, folder, record);
  try {
    const figures = async () => {
      const { headline, attention } = await evaluate(backend, model, params, dataset.validation ?? dataset.train, {
        ...evaluationOf(record),
        windows: record.rhythm.finalEvalWindows,
        signal,
      });
      return { ...figuresOf(headline.loss, attention), ...(await tauFigure(params)) };
    };
    const metrics = readMetrics(folder.metrics).metrics.filter((metric) => metric.type === 'eval');
    return await use({ backend, model, params, record, dataset, figures, metrics, signal });
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
