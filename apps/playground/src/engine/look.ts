import { type AttentionSummary, createAttentionMeter, observe } from '@lazy-attention/analysis';
import type { Backend, Tensor } from '@lazy-attention/core';
import { type Batch as HostBatch, validationBatches } from '@lazy-attention/data/browser';
import { batchTensors, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { TrainingData } from './dataset.ts';
import { type SideView, viewOf } from './view.ts';

/** Sequences that a training is measured on. */
const MEASURED = 8;
/** Weights in memory at once, in bytes: small, so that a page's GPU is not held for long. */
const CHUNK = 2 ** 22;

/** A model with its weights, somewhere. */
export interface Loaded {
  readonly model: LazyTransformer;
  readonly params: Params;
}

/** What the heads do on held-out sequences, and the maps of the first `rows` tokens of the first of them. */
export async function measure(
  backend: Backend,
  { model, params }: Loaded,
  data: TrainingData,
  rows: number,
): Promise<SideView | null> {
  const { context } = model.config;
  const batches = validationBatches(data.validation, { context, batch: 4, maxWindows: MEASURED });
  const summary = await metered(backend, { model, params }, batches, Math.min(rows, context));
  return summary === null ? null : viewOf(summary);
}

/** The first sequence that `measure` looks at, as ids. */
export function measuredTokens(context: number, data: TrainingData, rows: number): Int32Array {
  const [first] = validationBatches(data.validation, { context, batch: 4, maxWindows: MEASURED });
  return (first as HostBatch).tokens.slice(0, Math.min(rows, context));
}

/** What a model makes of one text. */
export interface TextView {
  readonly view: SideView | null;
  /** Probabilities of the token after each: [tokens, vocabSize] at the last row only. */
  readonly next: Float32Array;
}

/** The heads of a model on `ids`, and its probabilities of what comes next. */
export async function lookAt(backend: Backend, loaded: Loaded, ids: Int32Array): Promise<TextView> {
  const batch = { tokens: ids, targets: ids, starts: null, batch: 1, length: ids.length, count: ids.length };
  const logits: Tensor[] = [];
  const summary = await metered(backend, loaded, [batch], ids.length, logits);
  const [last] = logits as [Tensor];
  const values = await last.data().finally(() => last.dispose());
  return { view: summary === null ? null : viewOf(summary), next: softmax(values) };
}

async function metered(
  backend: Backend,
  { model, params }: Loaded,
  batches: Iterable<HostBatch>,
  rows: number,
  keep?: Tensor[],
): Promise<AttentionSummary | null> {
  const meter = createAttentionMeter(backend, { hidden: null, maps: { length: rows }, chunkBytes: CHUNK });
  try {
    for (const host of batches) {
      const { tokens, targets, starts } = batchTensors(backend, host);
      const logits = model.forward(observe(backend, meter), params, tokens, { starts, positions: 'last' });
      if (keep === undefined) logits.dispose();
      else keep.push(logits);
      await meter.flush();
      for (const tensor of [tokens, targets, starts]) tensor?.dispose();
    }
    return meter.measured ? meter.summary() : null;
  } finally {
    meter.dispose();
  }
}

function softmax(logits: ArrayLike<number>): Float32Array {
  const values = Float64Array.from(logits);
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = values.map((x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (p) => p / sum);
}
