import { existsSync } from 'node:fs';
import { RunError } from '../errors.ts';
import { appendLine, readText, writeWhole } from './files.ts';
import type { EvalMetric, Metric } from './metric.ts';
import { checkMetric } from './schema.ts';

export type { EvalMetric, Metric, TrainMetric } from './metric.ts';

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
 * Forgets what came after `step`, the last checkpoint, so that a resumed run does not record a step twice; of a run that is at its
 * end, and so makes its last evaluation again, also that one. Files from before `last` was recorded have it at the last step alone.
 */
export function truncateMetrics(path: string, step: number, end: 'none' | 'steps' | 'stopped' = 'none'): void {
  if (!existsSync(path)) return;
  const { metrics } = readMetrics(path);
  const isMadeAgain = ({ last }: EvalMetric) => end === 'steps' || (end === 'stopped' && last === true);
  const kept = metrics.filter(
    (metric) => metric.step < step || (metric.step === step && !(metric.type === 'eval' && isMadeAgain(metric))),
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
