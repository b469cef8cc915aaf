import type { Backend } from '@lazy-attention/core';
import { type TokenSplit, validationBatches } from '@lazy-attention/data';
import { batchTensors, type LazyTransformer, lazyTransformer, type Params } from '@lazy-attention/nn';
import { measureAttention } from '../training/evaluate.ts';
import type { Measurement } from './table.ts';
import type { TrainedRun } from './trained.ts';

/** Held-out tokens that each context is tried on. */
const TOKENS = 65_536;

/** Targets that do not count. */
const IGNORED = -100;

/** Loss on windows of the context of training, twice that and four times that. */
export async function measureLengths({ backend, model, params, dataset }: TrainedRun): Promise<Measurement[]> {
  const split = dataset.validation ?? dataset.train;
  const trained = model.config.context;
  const rows: Measurement[] = [];
  for (const context of [trained, 2 * trained, 4 * trained]) {
    const longer = lazyTransformer({ ...model.config, context });
    const windows = Math.max(1, Math.floor(TOKENS / context));
    const [loss, lossBeyond] = await losses(backend, longer, params, split, windows, [0, trained]);
    const overall = (await measureAttention(backend, longer, params, split))?.overall;
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

/** Mean loss of the positions from each of `froms` on; null where there are none. */
async function losses(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  split: TokenSplit,
  maxWindows: number,
  froms: readonly number[],
): Promise<(number | null)[]> {
  const sums = froms.map(() => ({ nats: 0, count: 0 }));
  for (const held of validationBatches(split, { context: model.config.context, batch: 1, maxWindows })) {
    for (const [i, from] of froms.entries()) {
      const targets = held.targets.map((target, at) => (at % held.length < from ? IGNORED : target));
      const count = targets.filter((target) => target !== IGNORED).length;
      if (count === 0) continue;
      const batch = batchTensors(backend, { ...held, targets });
      const loss = backend.scope(() => model.loss(backend, params, batch));
      sums[i].nats += (await loss.data())[0] * count;
      sums[i].count += count;
      for (const tensor of [loss, ...Object.values(batch)]) tensor?.dispose();
    }
  }
  return sums.map(({ nats, count }) => (count === 0 ? null : nats / count));
}
