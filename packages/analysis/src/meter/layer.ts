import type { Backend } from '@lazy-attention/core';
import { AnalysisError } from '../errors.ts';
import { addRow, type HeadTally, headTally } from '../metrics/head.ts';
import type { AttentionMap } from '../metrics/summary.ts';
import { addToTiles, settleTiles, type TileRow, tileRow } from '../metrics/tiles.ts';
import { addValueNorms, type ValueTally, valueTally } from '../metrics/values.ts';
import type { ObservedAttention } from '../observe.ts';
import { hostStarts } from './held.ts';
import type { MapOptions, Settings } from './settings.ts';

/** Running sums over one layer. */
export interface LayerTally {
  readonly layer: number;
  readonly heads: readonly HeadTally[];
  /** One per key/value head; head h reads that of floor(h / group). */
  readonly values: readonly ValueTally[];
  tau: readonly number[] | null;
  bias: readonly (readonly number[])[] | null;
}

/** Sizes of one call: query row r is at position r + offset. */
interface Sizes {
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly keys: number;
  readonly offset: number;
}

/** A layer of which nothing was measured. */
export function layerTally(layer: number, { q, v }: ObservedAttention, settings: Settings): LayerTally {
  return {
    layer,
    heads: Array.from({ length: q.shape[2] }, () => headTally(settings.positions, settings.tiles)),
    values: Array.from({ length: v.shape[2] }, valueTally),
    tau: null,
    bias: null,
  };
}

/** Adds one call: its weights by chunks of query rows, the norms of its values by chunks of keys. */
export async function measureLayer(
  backend: Backend,
  tally: LayerTally,
  call: ObservedAttention,
  settings: Settings,
  maps: readonly AttentionMapInProgress[],
): Promise<void> {
  const { q, k, options } = call;
  const [batch, rows, heads] = q.shape;
  const keys = options.keyLength ?? k.shape[1];
  const sizes: Sizes = { batch, rows, heads, keys, offset: keys - rows };
  const starts = await hostStarts(options.starts, batch * rows);
  tally.tau = options.tau === undefined ? null : Array.from(await options.tau.data());
  tally.bias = options.bias === undefined ? null : splitRows(await options.bias.data(), heads);
  const tileRows = Array.from({ length: batch * heads }, (_, n) =>
    tally.heads[n % heads].tiles.map((tiles) => tileRow(tiles, keys)),
  );
  const chunk = Math.max(1, Math.floor(settings.chunkBytes / 4 / (batch * heads * keys)));
  for (let from = 0; from < rows; from += chunk) {
    const to = Math.min(rows, from + chunk);
    const weights = await weightsOf(backend, call, from, to, to + sizes.offset);
    addChunk(tally, tileRows, weights, { from, to, starts, sizes });
    for (const map of maps) addToMap(map, weights, from, to, sizes);
  }
  for (const row of tileRows) row.forEach(settleTiles);
  await measureValues(backend, tally, call, starts, sizes, settings);
}

/** Rows from..to-1 of the weights; later keys cannot be attended, so their keys end with the last row. */
function addChunk(
  tally: LayerTally,
  tileRows: readonly (readonly TileRow[])[],
  weights: ArrayLike<number>,
  { from, to, starts, sizes }: { from: number; to: number; starts: Int32Array | null; sizes: Sizes },
): void {
  const { batch, rows, heads, offset } = sizes;
  const width = to + offset;
  for (let n = 0; n < batch * heads; n++) {
    const head = n % heads;
    const b = Math.floor(n / heads);
    const tau = tally.tau?.[head] ?? 0;
    for (let row = from; row < to; row++) {
      const base = (n * (to - from) + row - from) * width;
      const start = starts === null ? 0 : starts[b * rows + row];
      const mass = addRow(tally.heads[head], weights, base, start, row + offset, tau);
      if (!Number.isFinite(mass)) throw notFinite(`attention of layer ${tally.layer}, head ${head}, row ${row}`);
      for (const tiles of tileRows[n]) addToTiles(tiles, weights, base, start, row + offset);
    }
  }
}

/** Norms of the values, by position in their document. */
async function measureValues(
  backend: Backend,
  tally: LayerTally,
  { v }: ObservedAttention,
  starts: Int32Array | null,
  { batch, rows, keys, offset }: Sizes,
  { chunkBytes }: Settings,
): Promise<void> {
  const [, , heads, width] = v.shape;
  const chunk = Math.max(1, Math.floor(chunkBytes / 4 / (batch * heads * width)));
  for (let from = 0; from < keys; from += chunk) {
    const to = Math.min(keys, from + chunk);
    const part = backend.slice(v, 1, from, to);
    try {
      const values = await part.data();
      for (let n = 0; n < batch * (to - from); n++) {
        const b = Math.floor(n / (to - from));
        const key = from + (n % (to - from));
        // Keys before the first row are of that row's document.
        const start = starts === null ? 0 : starts[b * rows + Math.max(0, key - offset)];
        if (key < start) continue;
        for (let h = 0; h < heads; h++)
          addValueNorms(tally.values[h], values, (n * heads + h) * width, width, key - start);
      }
    } finally {
      part.dispose();
    }
  }
}

/** Weights of query rows from..to-1 against the first `width` keys: [B, H, to - from, width]. */
async function weightsOf(
  backend: Backend,
  { q, k, options, composed }: ObservedAttention,
  from: number,
  to: number,
  width: number,
): Promise<Float32Array | Float64Array> {
  const { save: _, starts, ...others } = options;
  const weights = backend.scope(
    () =>
      composed?.weights(backend, { q, k, starts, more: composed.more }, from, to) ??
      backend.attentionWeights(backend.slice(q, 1, from, to), k, {
        ...others,
        starts: starts === undefined ? undefined : backend.slice(starts, 1, from, to),
        keyLength: width,
      }),
  );
  try {
    return (await weights.data()) as Float32Array | Float64Array;
  } finally {
    weights.dispose();
  }
}

/** A map that is being filled, row by row. */
export interface AttentionMapInProgress extends AttentionMap {
  readonly length: number;
  readonly weights: number[][];
}

/** The maps that are wanted of a layer. */
export function openMaps(wanted: MapOptions, layer: number, heads: number): AttentionMapInProgress[] {
  if (wanted.layers !== undefined && !wanted.layers.includes(layer)) return [];
  const all = Array.from({ length: heads }, (_, head) => head);
  return all
    .filter((head) => wanted.heads === undefined || wanted.heads.includes(head))
    .map((head) => ({ layer, head, length: wanted.length, weights: [] }));
}

function addToMap(
  map: AttentionMapInProgress,
  weights: Float32Array | Float64Array,
  from: number,
  to: number,
  { offset }: Sizes,
): void {
  const width = to + offset;
  for (let row = from; row < Math.min(to, map.length - offset); row++) {
    const base = (map.head * (to - from) + row - from) * width;
    map.weights.push(Array.from(weights.subarray(base, base + row + offset + 1)));
  }
}

function splitRows(values: ArrayLike<number>, rows: number): number[][] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) => Array.from({ length: width }, (_, at) => values[row * width + at]));
}

/** The error for what has diverged. */
export function notFinite(where: string): AnalysisError {
  return new AnalysisError('NOT_FINITE', `flush: ${where} is not finite; the parameters have diverged`);
}
