import { setImmediate as turn } from 'node:timers/promises';
import { type AttentionSummary, createAttentionMeter, type MeterOptions, observe } from '@lazy-attention/analysis';
import type { Backend } from '@lazy-attention/core';
import { type TokenSplit, validationBatches } from '@lazy-attention/data';
import { batchTensors, type LazyTransformer, type Params } from '@lazy-attention/nn';
import type { EvalMetric } from '../run/metrics.ts';

/** Windows whose attention is looked at: looking costs several forward passes. */
const MEASURED_WINDOWS = 8;

/** What an evaluation found. */
export interface Evaluation {
  /** Losses and measures, as a line of metrics.jsonl has them. */
  readonly headline: Omit<EvalMetric, 'type' | 'step'>;
  /** null for a kind that has no attention weights. */
  readonly attention: AttentionSummary | null;
}

export interface EvaluateOptions {
  /** Windows at a time. */
  readonly batch: number;
  /** Whether tokens attend across the borders of documents. Default false. */
  readonly joined?: boolean;
  /** Tokens whose logits exist at a time; default all. */
  readonly lossRows?: number | undefined;
  /** Windows looked at, evenly spread. */
  readonly windows: number;
  /** What the windows are; default 'validation'. */
  readonly on?: 'validation' | 'train';
  /** Keeps attention maps of this many tokens. Default: none. */
  readonly mapLength?: number | undefined;
  /** Ends the evaluation with an AbortError. */
  readonly signal?: AbortSignal;
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
  let nats = 0;
  let targets = 0;
  for (const held of validationBatches(split, { context, batch: options.batch, maxWindows: options.windows })) {
    await turn();
    options.signal?.throwIfAborted();
    const batch = batchTensors(backend, options.joined ? { ...held, starts: null } : held);
    const loss = backend.scope(() => model.loss(backend, params, batch, { lossRows: options.lossRows }));
    nats += (await loss.data())[0] * held.count;
    targets += held.count;
    for (const tensor of [loss, ...Object.values(batch)]) tensor?.dispose();
  }
  const loss = nats / targets;
  options.signal?.throwIfAborted();
  const attention = await measureAttention(backend, model, params, split, {
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

/** What the heads do on a few held-out windows; null for a kind that has no attention weights. */
export async function measureAttention(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  split: TokenSplit,
  options: MeterOptions = {},
): Promise<AttentionSummary | null> {
  const { context } = model.config;
  const meter = createAttentionMeter(backend, options);
  try {
    for (const held of validationBatches(split, { context, batch: 2, maxWindows: MEASURED_WINDOWS })) {
      const { tokens, targets, starts } = batchTensors(backend, held);
      model.forward(observe(backend, meter), params, tokens, starts === undefined ? {} : { starts }).dispose();
      await meter.flush();
      for (const tensor of [tokens, targets, starts]) tensor?.dispose();
    }
    return meter.measured ? meter.summary() : null;
  } finally {
    meter.dispose();
  }
}
