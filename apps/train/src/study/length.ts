import { type Batch, IGNORE_INDEX, validationBatches } from '@lazy-attention/data';
import { lazyTransformer } from '@lazy-attention/nn';
import { evaluationOf, meanLoss, measureAttention } from '../training/evaluate.ts';
import type { Measurement } from './table.ts';
import type { TrainedRun } from './trained.ts';

/** Held-out tokens that each context is tried on. */
const TOKENS = 65_536;

/** Loss on windows of the context of training, twice that and four times that. */
export async function measureLengths({ backend, model, params, dataset, record, signal }: TrainedRun) {
  const how = { ...evaluationOf(record), signal };
  const split = dataset.validation ?? dataset.train;
  const trained = model.config.context;
  const rows: Measurement[] = [];
  for (const context of [trained, 2 * trained, 4 * trained]) {
    const longer = lazyTransformer({ ...model.config, context });
    const maxWindows = Math.max(1, Math.floor(TOKENS / context));
    const batches = [...validationBatches(split, { context, batch: 1, maxWindows })];
    const lossFrom = async (from: number): Promise<number | null> => {
      if (from >= context) return null;
      return meanLoss(backend, longer, params, from === 0 ? batches : batches.map((held) => beyond(held, from)), how);
    };
    const loss = await lossFrom(0);
    const lossBeyond = await lossFrom(trained);
    const overall = (await measureAttention(backend, longer, params, split, how))?.overall;
    rows.push({
      key: [context],
      figures: {
        loss,
        // At positions that training never reached; none in the first row.
        lossBeyond,
        firstTokenWeight: overall?.firstTokenWeight ?? null,
        sparsity: overall?.sparsity ?? null,
      },
    });
  }
  return rows;
}

/** A batch of which only the positions from `from` on count. */
function beyond(held: Batch, from: number): Batch {
  const targets = held.targets.map((target, at) => (at % held.length < from ? IGNORE_INDEX : target));
  return { ...held, targets, count: targets.filter((target) => target !== IGNORE_INDEX).length };
}
