import type { AttentionKind } from '@lazy-attention/nn';
import type { AttentionSummary } from '../metrics/summary.ts';

/** Everything a report is made of: plain JSON. */
export interface ReportData {
  /** Of the page. */
  readonly title: string;
  /** ISO date. */
  readonly generatedAt: string;
  /** The command line that makes this report again. */
  readonly command: string;
  /** Label and value: backend, device, Node, data, tokeniser. */
  readonly environment: readonly (readonly [label: string, value: string])[];
  /** What a reader must know: a run that was cut short, a metrics file that ends in the middle of a line. */
  readonly notes: readonly string[];
  /** In any order. */
  readonly runs: readonly ReportRun[];
  /** Path of a server-sent event stream; on each event the page fetches itself anew. */
  readonly live?: string;
}

/** One trained model. */
export interface ReportRun {
  /** Runs of one scenario are compared with each other: 'nano, context 256'. */
  readonly scenario: string;
  /** What is compared: runs of one arm differ in the seed alone. For people: 'Lazy', 'Softmax'. */
  readonly arm: string;
  /** nn's name of the kind of attention. */
  readonly kind: AttentionKind;
  /** Of the run. */
  readonly seed: number;
  /** Folder or other name, and the command that trained it. */
  readonly name: string;
  /** That made it. */
  readonly command: string;
  /** Numbers that were trained. */
  readonly parameters: number;
  /** Planned. */
  readonly steps: number;
  /** Done so far. */
  readonly stepsDone: number;
  /** Of a batch. */
  readonly tokensPerStep: number;
  /** Spent so far. */
  readonly seconds: number;
  /** Training loss by step. */
  readonly training: readonly CurvePoint[];
  /** Held-out loss by step. */
  readonly validation: readonly CurvePoint[];
  /** null while it trains, or when it was cut short. */
  readonly final: FinalFigures | null;
  /** null when there is no checkpoint to measure. */
  readonly attention: AttentionSummary | null;
  /** Tokens of the text under `attention.maps`, as text. */
  readonly mapTokens: readonly string[];
  /** Text that the model wrote, with the prompt it began from. */
  readonly sample: string | null;
}

/** A value of a curve. */
export interface CurvePoint {
  /** Training step, from 1. */
  readonly step: number;
  /** Nats per token. */
  readonly loss: number;
}

/** What a run came to. */
export interface FinalFigures {
  /** Mean over held-out tokens, in nats. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** The loss in bits, per byte of the text. */
  readonly bitsPerByte: number;
}

/** What arXiv 2601.00919 reports. */
export const PAPER = {
  citation: 'Attention Needs to Focus: A Unified Perspective on Attention Allocation, arXiv 2601.00919',
  sparsity: 0.5958,
} as const;

/** What this project expects of itself beside the paper. */
export const EXPECTED = { lossAboveSoftmax: 0.01, layerSparsity: 0.5, firstTokenWeight: 0.01 } as const;
