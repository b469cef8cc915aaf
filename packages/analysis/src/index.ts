export { AnalysisError, type AnalysisErrorCode } from './errors.ts';
export { MAP_COLORS, type MapColors, mapShade } from './maps.ts';
export type { MapOptions, MeterOptions } from './meter/settings.ts';
export { type AttentionMeter, createAttentionMeter } from './meter.ts';
export type {
  AttentionMap,
  AttentionSummary,
  HeadMetrics,
  HiddenMetrics,
  LayerMetrics,
  Metrics,
} from './metrics/summary.ts';
export { type ObservedAttention, type OpsObserver, observe } from './observe.ts';
