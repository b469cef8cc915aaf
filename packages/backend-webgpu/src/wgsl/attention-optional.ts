import { type ParamTypes, read } from './kernel.ts';

/**
 * Inputs of attention that may be absent. All are bound; parameters say which are there, so that one text serves every
 * combination: without a bias `window` is 0, the others have a flag.
 */
export const OPTIONAL_PARAMS = {
  window: 'u32',
  hasTau: 'u32',
  hasStarts: 'u32',
} as const satisfies ParamTypes;

/** [H, W] */
export const BIAS = { bias: read('f32') };
/** What a head has one of, [H]. */
export const PER_HEAD = { tau: read('f32') };
/** [B, L] */
export const STARTS = { starts: read('i32') };
