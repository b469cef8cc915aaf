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

/** Rows of a batch whose losses are added up, all of one band. */
interface Stretch {
  readonly end: number;
  readonly band: number;
  readonly targets: number;
}

/** Mean loss by position: of up to 16 equal stretches of a window, each window run once, `lossRows` tokens at a time at most. */
export async function lossByPosition(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  batches: Iterable<HostBatch>,
  { joined, lossRows = Number.POSITIVE_INFINITY }: Pick<RunningOptions, 'joined' | 'lossRows'>,
): Promise<BandLoss[]> {
  const { context } = model.config;
  const width = Math.ceil(context / BANDS);
  const bands = Array.from({ length: Math.ceil(context / width) }, () => ({ nats: 0, targets: 0 }));
  for (const held of batches) {
    await turn();
    const stretches = stretchesOf(held, width, lossRows);
    const batch = batchTensors(backend, joined ? { ...held, starts: null } : held);
    const sums = model.lossSums(
      backend,
      params,
      batch,
      stretches.map(({ end }) => end),
    );
    const nats = await Promise.all(sums.map((sum) => sum.data()));
    for (const [i, { band, targets }] of stretches.entries()) {
      bands[band].nats += nats[i][0];
      bands[band].targets += targets;
    }
    for (const tensor of [...sums, ...Object.values(batch)]) tensor?.dispose();
  }
  return bands.map(({ nats, targets }, band) => ({
    from: band * width,
    to: Math.min(context, (band + 1) * width),
    loss: targets === 0 ? null : nats / targets,
  }));
}

/** The rows of a batch, cut where a band or a sequence ends and after `most` rows. */
function stretchesOf({ targets, batch, length }: HostBatch, width: number, most: number): Stretch[] {
  const stretches: Stretch[] = [];
  for (let row = 0; row < batch; row++) {
    for (let from = 0, to = 0; from < length; from = to) {
      const band = Math.floor(from / width);
      to = Math.min(length, (band + 1) * width, from + most);
      const own = targets.subarray(row * length + from, row * length + to);
      const count = own.reduce((sum, target) => sum + (target === IGNORE_INDEX ? 0 : 1), 0);
      stretches.push({ end: row * length + to, band, targets: count });
    }
  }
  return stretches;
}
