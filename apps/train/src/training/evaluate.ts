import { setImmediate as turn } from 'node:timers/promises';
import { type AttentionSummary, createAttentionMeter, type MeterOptions, observe } from '@lazy-attention/analysis';
import type { Backend, Ops } from '@lazy-attention/core';
import { type TokenSplit, validationBatches } from '@lazy-attention/data';
import { batchTensors, type HostBatch, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { EvalMetric } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';

/** Windows whose attention is looked at: looking costs several forward passes. */
const MEASURED_WINDOWS = 8;
/** Windows whose attention is looked at at a time. */
const MEASURED_BATCH = 2;

/** What an evaluation found. */
export interface Evaluation {
  /** Losses and measures, as a line of metrics.jsonl has them. */
  readonly headline: Omit<EvalMetric, 'type' | 'step'>;
  /** null for a kind that has no attention weights. */
  readonly attention: AttentionSummary | null;
}

/** How a model is run to be measured. */
export interface RunningOptions {
  /** Windows at a time. */
  readonly batch: number;
  /** Whether tokens attend across the borders of documents. Default false. */
  readonly joined?: boolean | undefined;
  /** Tokens whose logits exist at a time; default all. */
  readonly lossRows?: number | undefined;
}

export interface EvaluateOptions extends RunningOptions {
  /** Windows looked at, evenly spread. */
  readonly windows: number;
  /** What the windows are; default 'validation'. */
  readonly on?: 'validation' | 'train';
  /** Keeps attention maps of this many tokens. Default: none. */
  readonly mapLength?: number | undefined;
  /** Ends the evaluation with an AbortError. */
  readonly signal?: AbortSignal | undefined;
}

/** A run is measured as it was trained: no more at a time, and with its documents as they were. */
export function evaluationOf({ training }: Pick<RunRecord, 'training'>): Required<RunningOptions> {
  const { batch, microBatch = batch, documents, lossRows } = training;
  return { batch: microBatch, joined: documents === 'joined', lossRows };
}

/** What `meanLoss` takes: `ops` in the place of the backend's, and what ends it. */
export interface MeanLossOptions extends Omit<RunningOptions, 'batch'> {
  readonly ops?: Ops;
  /** Ends it with an AbortError. */
  readonly signal?: AbortSignal | undefined;
}

/** Nats per target; NaN where there is none. */
export async function meanLoss(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  batches: Iterable<HostBatch & { readonly count: number }>,
  { joined, lossRows, ops = backend, signal }: MeanLossOptions = {},
): Promise<number> {
  let nats = 0;
  let targets = 0;
  for (const held of batches) {
    await turn();
    signal?.throwIfAborted();
    if (held.count === 0) continue;
    const batch = batchTensors(backend, joined ? { ...held, starts: null } : held);
    const loss = backend.scope(() => model.loss(ops, params, batch, { lossRows }));
    nats += (await loss.data())[0] * held.count;
    targets += held.count;
    for (const tensor of [loss, ...Object.values(batch)]) tensor?.dispose();
  }
  return nats / targets;
}

/**
 * Mean loss over fixed windows of held-out text (nats per token), perplexity, bits per byte of text, and what the
 * attention heads do on the first of those windows.
 */
export async function evaluate(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  split: TokenSplit,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { context } = model.config;
  const { batch, windows, joined, lossRows, signal } = options;
  const batches = validationBatches(split, { context, batch, maxWindows: windows });
  const loss = await meanLoss(backend, model, params, batches, { joined, lossRows, signal });
  const attention = await measureAttention(backend, model, params, split, {
    batch,
    joined,
    signal,
    maps: options.mapLength === undefined ? null : { length: Math.min(options.mapLength, context) },
  });
  return {
    headline: {
      on: options.on ?? 'validation',
      loss,
      perplexity: Math.exp(loss),
      // Nats per token, times tokens per byte of this text, in bits.
      bitsPerByte: (loss / Math.LN2) * (split.length / split.bytes),
      ...(attention && {
        sparsity: attention.overall.sparsity,
        firstTokenWeight: attention.overall.firstTokenWeight,
        sinkRate: attention.overall.sinkRate['0.3'],
      }),
    },
    attention,
  };
}

/** What `measureAttention` takes: what the meter takes, how the model is run, and what ends it. */
export interface MeasureOptions extends MeterOptions, Partial<RunningOptions> {
  /** Ends it with an AbortError. */
  readonly signal?: AbortSignal | undefined;
}

/** What the heads do on a few held-out windows; null for a kind that has no attention weights. */
export async function measureAttention(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  split: TokenSplit,
  { batch: most = MEASURED_BATCH, joined, lossRows: _, signal, ...options }: MeasureOptions = {},
): Promise<AttentionSummary | null> {
  const { context } = model.config;
  const batch = Math.min(MEASURED_BATCH, most);
  const meter = createAttentionMeter(backend, options);
  try {
    for (const held of validationBatches(split, { context, batch, maxWindows: MEASURED_WINDOWS })) {
      await turn();
      signal?.throwIfAborted();
      const { tokens, targets, starts } = batchTensors(backend, joined ? { ...held, starts: null } : held);
      model.forward(observe(backend, meter), params, tokens, starts === undefined ? {} : { starts }).dispose();
      await meter.flush();
      for (const tensor of [tokens, targets, starts]) tensor?.dispose();
    }
    return meter.measured ? meter.summary() : null;
  } finally {
    meter.dispose();
  }
}
