import { validationBatches } from '@lazy-attention/data';
import { disposeParams } from '@lazy-attention/nn';
import { evaluationOf, meanLoss } from '../training/evaluate.ts';
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
export async function measureQuantised({ backend, model, params, dataset, record, figures, signal }: TrainedRun) {
  const { context } = model.config;
  const { batch, ...how } = evaluationOf(record);
  const maxWindows = record.rhythm.finalEvalWindows;
  const batches = validationBatches(dataset.validation ?? dataset.train, { context, batch, maxWindows });
  const { largestActivation = null, kurtosis = null } = await figures();
  const rows: Measurement[] = [];
  let whole: number | null = null;
  for (const [weights, activations] of FORMATS) {
    const used = weights === null ? params : await quantisedWeights(backend, params, weights);
    const ops = activations === null ? backend : quantisedActivations(backend, activations);
    const loss = await meanLoss(backend, model, used, batches, { ...how, ops, signal }).finally(() => {
      if (used !== params) disposeParams(used);
    });
    whole ??= loss;
    const shown = (bits: number | null) => (bits === null ? 'f32' : `int${bits}`);
    rows.push({
      key: [shown(weights), shown(activations)],
      figures: {
        loss,
        lossAdded: loss - whole,
        largestActivation,
        kurtosis,
      },
    });
  }
  return rows;
}
