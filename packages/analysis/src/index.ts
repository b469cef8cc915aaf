export { AnalysisError, type AnalysisErrorCode } from './errors.ts';
export { type AttentionMeter, createAttentionMeter, type MapOptions, type MeterOptions } from './meter.ts';
export type {
  AttentionMap,
  AttentionSummary,
  HeadMetrics,
  HiddenMetrics,
  LayerMetrics,
  Metrics,
} from './metrics/summary.ts';
export { type ObservedAttention, type OpsObserver, observe } from './observe.ts';
