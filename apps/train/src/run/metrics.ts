import { existsSync } from 'node:fs';
import { RunError } from '../errors.ts';
import { appendLine, readText, writeWhole } from './files.ts';
import { checkMetric } from './schema.ts';

/** One line of metrics.jsonl. Losses in nats per token, times in seconds since the run's first step (pauses left out). */
export type Metric = TrainMetric | EvalMetric;

/** A line of metrics.jsonl: a training step. */
export interface TrainMetric {
  /** Tells the lines apart. */
  readonly type: 'train';
  /** From 1. */
  readonly step: number;
  /** Of its batch, in nats per token. */
  readonly loss: number;
  /** That the step was made with. */
  readonly learningRate: number;
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Of training. */
  readonly tokensPerSecond: number;
  /** Since the run's first step, without pauses. */
  readonly seconds: number;
}

/** A line of metrics.jsonl: an evaluation. */
export interface EvalMetric {
  /** Tells the lines apart. */
  readonly type: 'eval';
  /** Training steps before it. */
  readonly step: number;
  /** What was looked at: the held-out part, or the training part of a run that holds nothing out. */
  readonly on: 'validation' | 'train';
  /** Mean over held-out tokens, in nats. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Of the held-out text. */
  readonly bitsPerByte: number;
  /** Share of attended pairs whose weight is exactly zero. */
  readonly sparsity?: number;
  /** Mean weight on the first token. */
  readonly firstTokenWeight?: number;
  /** Share of heads with a mean first-token weight above 0.3. */
  readonly sinkRate?: number;
}

/** What was read, and what was not: a line that a kill cut in two is left out and said. */
export interface MetricsFile {
  /** Whole lines, in order. */
  readonly metrics: Metric[];
  /** What was left out, and why; null: nothing. */
  readonly warning: string | null;
}

export function appendMetric(path: string, metric: Metric): void {
  if (!Number.isFinite(metric.loss)) {
    throw new RunError('RUN_METRICS', `metrics: the loss of step ${metric.step} is ${metric.loss}; not recorded`);
  }
  appendLine(path, JSON.stringify(metric));
}

/** Reads metrics.jsonl. Only its last line may be cut; anything else that is not a metric is an error with its line. */
export function readMetrics(path: string): MetricsFile {
  if (!existsSync(path)) return { metrics: [], warning: null };
  const lines = readText(path, 'RUN_METRICS').split('\n');
  const tail = lines.pop() ?? '';
  const metrics = lines.map((line, i) => {
    const metric = parseMetric(line);
    if (metric === null) {
      throw new RunError('RUN_METRICS', `metrics: line ${i + 1} of ${path} is not a metric: ${line.slice(0, 80)}`);
    }
    return metric;
  });
  if (tail === '') return { metrics, warning: null };
  return { metrics, warning: `${path} ends in the middle of a line; that line was left out` };
}

/**
 * Forgets what came after `step`, the last checkpoint, so that a resumed run does not record a step twice; with
 * `evaluatesAgain` also the evaluation of that very step.
 */
export function truncateMetrics(path: string, step: number, evaluatesAgain = false): void {
  if (!existsSync(path)) return;
  const { metrics } = readMetrics(path);
  const kept = metrics.filter(
    (metric) => metric.step < step || (metric.step === step && !(evaluatesAgain && metric.type === 'eval')),
  );
  writeWhole(path, kept.map((metric) => `${JSON.stringify(metric)}\n`).join(''));
}

function parseMetric(line: string): Metric | null {
  try {
    return checkMetric(JSON.parse(line));
  } catch {
    return null;
  }
}
