import { setImmediate as turn } from 'node:timers/promises';
import type { Backend } from '@lazy-attention/core';
import { IGNORE_INDEX } from '@lazy-attention/data';
import { batchTensors, type HostBatch, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { RunningOptions } from './evaluate.ts';

/** Most stretches that a window is cut into. */
const BANDS = 16;

/** Loss on some positions of the windows. */
export interface BandLoss {
  /** First position, from 0. */
  readonly from: number;
  /** Behind the last. */
  readonly to: number;
  /** Nats per target; null where there is none. */
  readonly loss: number | null;
}

/** Mean loss by position: of up to 16 equal stretches of a window, each window run once. */
export async function lossByPosition(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  batches: Iterable<HostBatch>,
  { joined }: Pick<RunningOptions, 'joined'>,
): Promise<BandLoss[]> {
  const { context } = model.config;
  const width = Math.ceil(context / BANDS);
  const sums = Array.from({ length: Math.ceil(context / width) }, () => ({ nats: 0, targets: 0 }));
  for (const held of batches) {
    await turn();
    const { tokens, targets, starts } = batchTensors(backend, joined ? { ...held, starts: null } : held);
    const logits = model.forward(backend, params, tokens, starts === undefined ? {} : { starts });
    for (const [band, sum] of sums.entries()) {
      const own = held.targets.map((target, at) =>
        Math.floor((at % held.length) / width) === band ? target : IGNORE_INDEX,
      );
      const count = own.filter((target) => target !== IGNORE_INDEX).length;
      if (count === 0) continue;
      const loss = backend.scope(() => backend.crossEntropy(logits, backend.tensor(own, targets.shape)).loss);
      sum.nats += (await loss.data())[0] * count;
      sum.targets += count;
      loss.dispose();
    }
    for (const tensor of [logits, tokens, targets, starts]) tensor?.dispose();
  }
  return sums.map(({ nats, targets }, band) => ({
    from: band * width,
    to: Math.min(context, (band + 1) * width),
    loss: targets === 0 ? null : nats / targets,
  }));
}
