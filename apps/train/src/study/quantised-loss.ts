import type { Backend, Ops } from '@lazy-attention/core';
import { type TokenSplit, validationBatches } from '@lazy-attention/data';
import { batchTensors, disposeParams, type LazyTransformer, type Params } from '@lazy-attention/nn';
import { quantisedActivations, quantisedWeights } from './quantise.ts';
import type { Measurement } from './table.ts';
import type { TrainedRun } from './trained.ts';

/** Bits of weights and activations; null leaves them as they are. */
const FORMATS: readonly (readonly [weights: number | null, activations: number | null])[] = [
  [null, null],
  [8, null],
  [4, null],
  [null, 8],
  [null, 4],
  [8, 8],
  [4, 4],
];

/** Held-out loss with weights and activations rounded to nearest, and what the rounding adds. */
export async function measureQuantised({ backend, model, params, dataset, record, figures }: TrainedRun) {
  const split = dataset.validation ?? dataset.train;
  const { batch } = record.training;
  const rows: Measurement[] = [];
  let whole: number | null = null;
  for (const [weights, activations] of FORMATS) {
    const used = weights === null ? params : await quantisedWeights(backend, params, weights);
    const ops = activations === null ? backend : quantisedActivations(backend, activations);
    const loss = await lossWith(backend, ops, model, used, split, batch, record.rhythm.finalEvalWindows);
    if (used !== params) disposeParams(used);
    whole ??= loss;
    const shown = (bits: number | null) => (bits === null ? 'f32' : `int${bits}`);
    rows.push({
      key: [shown(weights), shown(activations)],
      figures: {
        loss,
        lossAdded: loss - whole,
        largestActivation: figures.largestActivation ?? null,
        kurtosis: figures.kurtosis ?? null,
      },
    });
  }
  return rows;
}

async function lossWith(
  backend: Backend,
  ops: Ops,
  model: LazyTransformer,
  params: Params,
  split: TokenSplit,
  batch: number,
  maxWindows: number,
): Promise<number> {
  let [nats, targets] = [0, 0];
  for (const held of validationBatches(split, { context: model.config.context, batch, maxWindows })) {
    const tensors = batchTensors(backend, held);
    const loss = backend.scope(() => model.loss(ops, params, tensors));
    nats += (await loss.data())[0] * held.count;
    targets += held.count;
    for (const tensor of [loss, ...Object.values(tensors)]) tensor?.dispose();
  }
  return nats / targets;
}
