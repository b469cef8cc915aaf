import { type AttentionMap, type AttentionSummary, createAttentionMeter, observe } from '@lazy-attention/analysis';
import type { Backend } from '@lazy-attention/core';
import { batchTensors, type HostBatch, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { RunningOptions } from '../training/evaluate.ts';
import type { Text } from './windows.ts';

/** One head with its place. */
export interface PlacedHead {
  readonly layer: number;
  readonly head: number;
}

/** What a text shows of a model. */
export interface Inspection {
  /** Nats per token. */
  readonly loss: number;
  /** Tokens looked at. */
  readonly tokens: number;
  /** Null for a kind that has no attention weights. `maps` are of the telling heads. */
  readonly attention: AttentionSummary | null;
  /** Those with the strongest sinks, strongest first. */
  readonly telling: readonly PlacedHead[];
}

/** How a row is run: as the model was trained. */
type How = Omit<RunningOptions, 'batch'>;

/** Heads whose maps are kept, and positions that these show. */
const MAPS = 6;
/** Positions of the first row that a map shows. */
export const MAP_LENGTH = 48;

/** Runs the model over the text as it was trained, one row at a time: memory is that of a row. */
export async function inspectModel(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  text: Text,
  how: How = {},
): Promise<Inspection> {
  const meter = createAttentionMeter(backend);
  let first: HostBatch | null = null;
  let nats = 0;
  let targets = 0;
  let tokens = 0;
  try {
    for (const row of text.batches) {
      first ??= row;
      tokens += row.tokens.length;
      targets += row.count;
      nats += row.count * (await lossOf(backend, model, params, row, observe(backend, meter), how));
      await meter.flush();
    }
    const loss = nats / targets;
    if (!meter.measured || first === null) return { loss, tokens, attention: null, telling: [] };
    const summary = meter.summary();
    const telling = strongest(summary);
    const maps = await mapsOf(backend, model, params, first, telling.slice(0, MAPS), how);
    return { loss, tokens, attention: { ...summary, maps }, telling };
  } finally {
    meter.dispose();
  }
}

async function lossOf(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  row: HostBatch,
  ops: ReturnType<typeof observe>,
  { joined, lossRows }: How,
): Promise<number> {
  const batch = batchTensors(backend, joined ? { ...row, starts: null } : row);
  const loss = model.loss(ops, params, batch, { lossRows });
  try {
    return (await loss.data())[0];
  } finally {
    for (const tensor of [loss, ...Object.values(batch)]) tensor?.dispose();
  }
}

/** All heads by the weight on their strongest position. */
function strongest({ layers }: AttentionSummary): PlacedHead[] {
  return layers
    .flatMap(({ layer, heads }) =>
      heads.map((head) => ({ layer, head: head.head, weight: head.strongestPositionWeight })),
    )
    .sort((a, b) => b.weight - a.weight)
    .map(({ layer, head }) => ({ layer, head }));
}

/** Maps of some heads, in their order, from the first row of the text. */
async function mapsOf(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  row: HostBatch,
  wanted: readonly PlacedHead[],
  how: How,
): Promise<AttentionMap[]> {
  const unique = (values: number[]) => [...new Set(values)].sort((a, b) => a - b);
  const meter = createAttentionMeter(backend, {
    hidden: null,
    maps: {
      length: Math.min(MAP_LENGTH, row.length),
      layers: unique(wanted.map(({ layer }) => layer)),
      heads: unique(wanted.map(({ head }) => head)),
    },
  });
  try {
    await lossOf(backend, model, params, row, observe(backend, meter), how);
    await meter.flush();
    const { maps } = meter.summary();
    return wanted.flatMap(({ layer, head }) => maps.filter((map) => map.layer === layer && map.head === head));
  } finally {
    meter.dispose();
  }
}
