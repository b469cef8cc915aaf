import type { TrainListener } from '../training/train.ts';
import { eventFile, type Scalars } from './event-file.ts';
import { appendLine, writeWhole } from './files.ts';
import type { RunFolder } from './folder.ts';
import { type Metric, readMetrics } from './metrics.ts';
import type { RunRecord } from './record.ts';

/** Columns of metrics.csv; a line has those that its type of metric has. */
const COLUMNS = [
  ...['type', 'step', 'loss', 'learningRate', 'gradNorm', 'tokensPerSecond', 'seconds'],
  ...['on', 'perplexity', 'bitsPerByte', 'sparsity', 'firstTokenWeight', 'sinkRate'],
] as const;

/** Writes what metrics.jsonl gets in other forms too, as the run's record asks. */
export function metricExports(folder: RunFolder, { rhythm }: RunRecord): TrainListener {
  const written: ((metric: Metric) => void)[] = [];
  const onMetric = (metric: Metric) => {
    for (const write of written) write(metric);
  };
  return {
    onStart({ step }) {
      // What a resumed run has forgotten goes from here, too.
      if (rhythm.csv === true) written.push(csvFile(folder.csv, readMetrics(folder.metrics).metrics));
      if (rhythm.tensorboard === true) {
        const add = eventFile(folder.tensorboard, step);
        written.push((metric) => add(metric.step, scalarsOf(metric)));
      }
    },
    onStep: onMetric,
    onEval: onMetric,
  };
}

function csvFile(path: string, before: readonly Metric[]): (metric: Metric) => void {
  writeWhole(path, [COLUMNS.join(','), ...before.map(csvLine), ''].join('\n'));
  return (metric) => appendLine(path, csvLine(metric));
}

/** Numbers and words without commas, so that nothing needs quotes. */
function csvLine(metric: Metric): string {
  const values = metric as unknown as Readonly<Record<string, string | number | undefined>>;
  return COLUMNS.map((column) => values[column] ?? '').join(',');
}

function scalarsOf({ type, step: _, ...rest }: Metric): Scalars {
  const numbers = Object.entries(rest).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  return Object.fromEntries(numbers.map(([name, value]) => [`${type}/${name}`, value]));
}
