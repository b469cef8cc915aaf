import { type ParamTypes, read } from './kernel.ts';

/**
 * Inputs of attention that may be absent. All are bound; parameters say which are there, so that one text serves every
 * combination: without a bias `window` is 0, the others have a flag.
 */
export const OPTIONAL_PARAMS = {
  window: 'u32',
  hasTau: 'u32',
  hasSink: 'u32',
  hasStarts: 'u32',
} as const satisfies ParamTypes;

/** [H, W] */
export const BIAS = { bias: read('f32') };
/** What a head has one of, [H]. */
export const PER_HEAD = { tau: read('f32'), sink: read('f32') };
/** `sinkLogit` of head `h`, spec §Sink logit; -Infinity where there is none. */
export const SINK_LOGIT = `
  let sinkLogit = bitcast<f32>(select(0xff800000u, bitcast<u32>(sink[h]), params.hasSink != 0u));`;
/** [B, L] */
export const STARTS = { starts: read('i32') };
