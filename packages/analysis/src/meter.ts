import { type Backend, checkOptions, type Tensor, ValueError } from '@lazy-attention/core';
import { AnalysisError } from './errors.ts';
import { addRow, type HeadTally, headTally } from './metrics/head.ts';
import { addActivations, addCosines, addEffectiveRank, type HiddenTally, hiddenTally } from './metrics/hidden.ts';
import {
  type AttentionMap,
  type AttentionSummary,
  headMetrics,
  hiddenMetrics,
  type LayerMetrics,
  meanMetrics,
} from './metrics/summary.ts';
import { addToTiles, settleTiles, tileRow } from './metrics/tiles.ts';
import type { ObservedAttention, OpsObserver } from './observe.ts';

export interface MeterOptions {
  /** Thresholds of the sink rate. Default 0.1, 0.2, 0.3, 0.4, 0.5; 0.3 is the one that papers report. */
  readonly epsilons?: readonly number[];
  /** How many first positions of a document are followed. Default 4. */
  readonly positions?: number;
  /** Tile sizes. Default 16, 32, 64, 128. */
  readonly tiles?: readonly number[];
  /** Bytes of the largest block of weights at a time; one query row of a batch is the least. Default 16 MiB. */
  readonly chunkBytes?: number;
  /** Sequences, and tokens of each, from which effective rank is taken. `null`: `onHidden` is ignored. */
  readonly hidden?: { readonly sequences: number; readonly tokens: number } | null;
  /** Keeps the weights among the first `length` positions of the first sequence. Default `null`: none. */
  readonly maps?: MapOptions | null;
}

export interface MapOptions {
  readonly length: number;
  /** Default: all. */
  readonly layers?: readonly number[];
  /** Default: all. */
  readonly heads?: readonly number[];
}

export interface AttentionMeter extends Required<OpsObserver> {
  /** Whether any attention was seen: a model without weights (gated DeltaNet) has none. */
  readonly measured: boolean;
  /** Measures what was observed since the last flush, in chunks of query rows, and lets go of it. */
  flush(): Promise<void>;
  /** Everything measured so far, as JSON. Throws `AnalysisError` `NOT_MEASURED` when that is nothing. */
  summary(): AttentionSummary;
  /** Lets go of what was observed and not measured. */
  dispose(): void;
}

interface LayerTally {
  readonly layer: number;
  readonly heads: readonly HeadTally[];
  tau: readonly number[] | null;
  bias: readonly (readonly number[])[] | null;
}

interface KeptHidden {
  readonly index: number;
  readonly layer: number;
  readonly x: Tensor;
}

const DEFAULTS = {
  epsilons: [0.1, 0.2, 0.3, 0.4, 0.5],
  positions: 4,
  tiles: [16, 32, 64, 128],
  chunkBytes: 2 ** 24,
  hidden: { sequences: 4, tokens: 256 },
  maps: null,
} as const satisfies MeterOptions;

/** An observer for `observe` that measures attention and the residual stream. `backend` is the one that the model runs on. */
export function createAttentionMeter(backend: Backend, options: MeterOptions = {}): AttentionMeter {
  const settings = checkSettings(options);
  const layers = new Map<number, LayerTally>();
  const hidden = new Map<number, HiddenTally>();
  const maps: AttentionMap[] = [];
  let attentions: { layer: number; call: Omit<ObservedAttention, 'v'> }[] = [];
  let residuals: KeptHidden[] = [];
  let sequences = 0;
  let tokens = 0;

  /** A view: the model may dispose its own. */
  const keep = (x: Tensor) => backend.reshape(x, x.shape);
  /** A copy, for the residual stream, which a model may add to in place (`matmul` with `accumulate`). */
  const copy = (x: Tensor) => backend.scale(x, 1);
  const keepOptional = (x: Tensor | undefined) => (x === undefined ? undefined : keep(x));

  const dispose = () => {
    for (const { call } of attentions) {
      const { bias, tau, starts } = call.options;
      for (const x of [call.q, call.k, bias, tau, starts, ...(call.composed?.more ?? [])]) x?.dispose();
    }
    for (const { x } of residuals) x.dispose();
    attentions = [];
    residuals = [];
  };

  const measureLayer = async (layer: number, call: Omit<ObservedAttention, 'v'>, first: boolean): Promise<void> => {
    const { q, k, options: attention } = call;
    const [batch, rows, heads] = q.shape;
    const keys = attention.keyLength ?? k.shape[1];
    const offset = keys - rows; // row r has position r + offset
    const tally = layers.get(layer) ?? {
      layer,
      heads: Array.from({ length: heads }, () => headTally(settings.positions, settings.tiles)),
      tau: null,
      bias: null,
    };
    layers.set(layer, tally);
    const starts = await hostStarts(attention.starts, batch * rows);
    tally.tau = attention.tau === undefined ? null : Array.from(await attention.tau.data());
    tally.bias = attention.bias === undefined ? null : splitRows(await attention.bias.data(), heads);
    const tileRows = Array.from({ length: batch * heads }, (_, n) =>
      tally.heads[n % heads].tiles.map((tiles) => tileRow(tiles, keys)),
    );
    const mapped = first && settings.maps !== null ? openMaps(maps, settings.maps, layer, heads) : [];

    const chunk = Math.max(1, Math.floor(settings.chunkBytes / 4 / (batch * heads * keys)));
    for (let from = 0; from < rows; from += chunk) {
      const to = Math.min(rows, from + chunk);
      const width = to + offset; // later keys cannot be attended: the chunk is the last rows of this many keys
      const weights = await weightsOf(backend, call, from, to, width);
      for (let n = 0; n < batch * heads; n++) {
        const b = Math.floor(n / heads);
        for (let row = from; row < to; row++) {
          const base = (n * (to - from) + row - from) * width;
          const start = starts === null ? 0 : starts[b * rows + row];
          const mass = addRow(tally.heads[n % heads], weights, base, start, row + offset);
          if (!Number.isFinite(mass)) throw notFinite(`attention of layer ${layer}, head ${n % heads}, row ${row}`);
          for (const tiles of tileRows[n]) addToTiles(tiles, weights, base, start, row + offset);
        }
      }
      for (const map of mapped) {
        for (let row = from; row < Math.min(to, map.length - offset); row++) {
          const base = (map.head * (to - from) + row - from) * width;
          map.weights.push(Array.from(weights.subarray(base, base + row + offset + 1)));
        }
      }
    }
    for (const row of tileRows) row.forEach(settleTiles);
  };

  const measureHidden = async (kept: KeptHidden, sample: { sequences: number; tokens: number }): Promise<void> => {
    const { x } = kept;
    const width = x.shape[x.shape.length - 1];
    const call = attentions[0]?.call;
    // Models may flatten [B, L, C] to [B * L, C]; the attention knows how long a sequence is.
    const length = x.shape.length === 3 ? x.shape[1] : call?.q.shape[1] === undefined ? x.shape[0] : call.q.shape[1];
    const count = x.size / width / length;
    if (length < 2 || !Number.isInteger(count)) return; // without pairs of tokens there is nothing to compare
    const starts = call?.q.shape[1] === length ? await hostStarts(call.options.starts, count * length) : null;
    const tally = hidden.get(kept.index) ?? hiddenTally(kept.index, kept.layer);
    hidden.set(kept.index, tally);
    const values = await x.data();
    if (!addActivations(tally, values)) throw notFinite(`input of rmsNorm ${kept.index}`);
    for (let sequence = 0; sequence < count; sequence++) {
      const from = sequence * length;
      for (const [begin, end] of documents(starts, from, from + length)) addCosines(tally, values, width, begin, end);
      if (tally.rankedSequences < sample.sequences) {
        addEffectiveRank(tally, values, width, from, from + length, sample.tokens);
      }
    }
  };

  return {
    get measured() {
      return layers.size > 0;
    },
    held: () => [attentions, residuals],
    onAttention(layer, { q, k, options: attention, composed }) {
      attentions.push({
        layer,
        call: {
          q: keep(q),
          k: keep(k),
          options: {
            ...attention,
            bias: keepOptional(attention.bias),
            tau: keepOptional(attention.tau),
            starts: keepOptional(attention.starts),
          },
          ...(composed && { composed: { ...composed, more: composed.more.map(keep) } }),
        },
      });
    },
    onHidden(index, x, layer) {
      if (settings.hidden === null || x.shape.length > 3) return; // four axes: a norm over heads, not the residual stream
      residuals.push({ index, layer, x: copy(x) });
    },
    async flush() {
      try {
        const first = sequences === 0;
        for (const { layer, call } of attentions) await measureLayer(layer, call, first);
        if (settings.hidden !== null) for (const kept of residuals) await measureHidden(kept, settings.hidden);
        const shape = attentions[0]?.call.q.shape;
        if (shape !== undefined) {
          sequences += shape[0];
          tokens += shape[0] * shape[1];
        }
      } finally {
        dispose();
      }
    },
    summary() {
      if (layers.size === 0) {
        throw new AnalysisError(
          'NOT_MEASURED',
          'summary: nothing was measured; run the model on observe(backend, meter), then await meter.flush()',
        );
      }
      const measured = [...layers.values()]
        .sort((a, b) => a.layer - b.layer)
        .map((layer) => summariseLayer(layer, settings.epsilons));
      return {
        overall: {
          ...meanMetrics(
            measured.flatMap((layer) => layer.heads),
            settings.epsilons,
          ),
          minLayerSparsity: Math.min(...measured.map((layer) => layer.overall.sparsity)),
        },
        layers: measured,
        hidden: [...hidden.values()].sort((a, b) => a.index - b.index).map(hiddenMetrics),
        maps: maps.map(({ layer, head, weights }) => ({ layer, head, weights })),
        sequences,
        tokens,
      };
    },
    dispose,
  };
}

function summariseLayer({ layer, heads, tau, bias }: LayerTally, epsilons: readonly number[]): LayerMetrics {
  const measured = heads.map((tally, head) => headMetrics(head, tally, tau?.[head] ?? null, bias?.[head] ?? null));
  return { layer, overall: meanMetrics(measured, epsilons), heads: measured };
}

/** Weights of query rows from..to-1 against the first `width` keys: [B, H, to - from, width]. */
async function weightsOf(
  backend: Backend,
  { q, k, options, composed }: Omit<ObservedAttention, 'v'>,
  from: number,
  to: number,
  width: number,
): Promise<Float32Array | Float64Array> {
  const { bias, tau, scale, starts } = options;
  const weights = backend.scope(
    () =>
      composed?.weights(backend, { q, k, starts, more: composed.more }, from, to) ??
      backend.attentionWeights(backend.slice(q, 1, from, to), k, {
        bias,
        tau,
        scale,
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

interface OpenMap {
  readonly layer: number;
  readonly head: number;
  readonly length: number;
  readonly weights: number[][];
}

function openMaps(maps: AttentionMap[], wanted: MapOptions, layer: number, heads: number): OpenMap[] {
  if (wanted.layers !== undefined && !wanted.layers.includes(layer)) return [];
  const opened: OpenMap[] = [];
  for (let head = 0; head < heads; head++) {
    if (wanted.heads !== undefined && !wanted.heads.includes(head)) continue;
    opened.push({ layer, head, length: wanted.length, weights: [] });
  }
  maps.push(...opened);
  return opened;
}

/** Maximal runs of rows with the same start: the documents of one sequence, as [from, to). */
function* documents(starts: Int32Array | null, from: number, to: number): Generator<[number, number]> {
  let begin = from;
  for (let row = from + 1; starts !== null && row < to; row++) {
    if (starts[row] === starts[row - 1]) continue;
    yield [begin, row];
    begin = row;
  }
  yield [begin, to];
}

async function hostStarts(starts: Tensor | undefined, expected: number): Promise<Int32Array | null> {
  if (starts === undefined || starts.size !== expected) return null;
  return (await starts.data()) as Int32Array;
}

function splitRows(values: ArrayLike<number>, rows: number): number[][] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) => Array.from({ length: width }, (_, at) => values[row * width + at]));
}

function notFinite(where: string): AnalysisError {
  return new AnalysisError('NOT_FINITE', `flush: ${where} is not finite; the parameters have diverged`);
}

function checkSettings(options: MeterOptions) {
  checkOptions('createAttentionMeter', options, Object.keys(DEFAULTS));
  const settings = {
    epsilons: options.epsilons ?? DEFAULTS.epsilons,
    positions: options.positions ?? DEFAULTS.positions,
    tiles: options.tiles ?? DEFAULTS.tiles,
    chunkBytes: options.chunkBytes ?? DEFAULTS.chunkBytes,
    hidden: options.hidden === undefined ? DEFAULTS.hidden : options.hidden,
    maps: options.maps ?? DEFAULTS.maps,
  };
  const whole = {
    positions: settings.positions,
    chunkBytes: settings.chunkBytes,
    'maps.length': settings.maps?.length,
  };
  for (const [name, value] of [
    ...Object.entries(whole),
    ...settings.tiles.map((size) => ['tiles', size] as const),
    ...Object.entries(settings.hidden ?? {}).map(([name, value]) => [`hidden.${name}`, value] as const),
  ]) {
    if (value !== undefined && !(Number.isInteger(value) && value > 0)) {
      throw new ValueError(`createAttentionMeter: ${name} is ${value}; expected a positive integer`);
    }
  }
  for (const epsilon of settings.epsilons) {
    if (!(epsilon >= 0)) throw new ValueError(`createAttentionMeter: epsilons holds ${epsilon}; expected 0 or more`);
  }
  return settings;
}
