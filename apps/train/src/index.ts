export * from './errors.ts';
export { createRun, openRun, type RunFolder, runFolder } from './run/folder.ts';
export { loadTrained, type TrainedModel } from './run/load.ts';
export { type EvalMetric, type Metric, type MetricsFile, readMetrics, type TrainMetric } from './run/metrics.ts';
export { type Intervals, RUN_VERSION, type RunRecord } from './run/record.ts';
export { loadRunData } from './training/data.ts';
export { type Evaluation, evaluate } from './training/evaluate.ts';
export { type TrainListener, type TrainOutcome, train } from './training/train.ts';
