import { PER_HEAD_NAMES, type PerHead, type PerHeadInput } from '@lazy-attention/core';
import { type ParamTypes, read } from './kernel.ts';

/** Parameters `tauAt`, ...: where an input [H] begins in `perHead`. */
type PlaceParams = { readonly [Name in PerHeadInput as `${Name}At`]: 'u32' };

/** A place for an input that is absent. */
export const ABSENT = 0xffffffff;

/**
 * Inputs of attention that may be absent. All are bound; parameters say which are there, so that one text serves every
 * combination: without a bias `window` is 0, inputs [H] have a place or ABSENT, starts a flag.
 */
export const OPTIONAL_PARAMS = {
  window: 'u32',
  ...(Object.fromEntries(PER_HEAD_NAMES.map((name) => [`${name}At`, 'u32'])) as PlaceParams),
  hasStarts: 'u32',
} as const satisfies ParamTypes;

/** [H, W] */
export const BIAS = { bias: read('f32') };
/** The inputs [H] that are there, one behind the other: a kernel has room for few buffers. */
export const PER_HEAD = { perHead: read('f32') };
/** [B, L] */
export const STARTS = { starts: read('i32') };

/** Declares `offset`, tau / n of head `h` for a row that attends `count` keys; 0 without tau. */
export const offsetOf = (count: string): string => `
  var offset = 0.0;
  if (params.tauAt != ${ABSENT}u) { offset = perHead[params.tauAt + h] / (${count}); }`;

/**
 * What the softmax of head h counts beside its keys, spec §Sink logit: `besideTop(h)` is the highest such logit, -Infinity without
 * any, and `besideSum(h, top)` the sum of exp(logit - top).
 */
export const BESIDE = `
  fn sinkLogit(h: u32) -> f32 {
    let there = params.sinkAt != ${ABSENT}u;
    return bitcast<f32>(select(0xff800000u, bitcast<u32>(perHead[select(0u, params.sinkAt + h, there)]), there));
  }
  fn besideTop(h: u32) -> f32 { return sinkLogit(h); }
  fn besideSum(h: u32, top: f32) -> f32 {
    let logit = sinkLogit(h);
    return select(exp(logit - top), 0.0, bitcast<u32>(logit) == 0xff800000u);
  }`;

/** Whether `x` is a logit, and not the -Infinity of none. */
export const isLogit = (x: string): string => `bitcast<u32>(${x}) != 0xff800000u`;

/**
 * A row's term of the gradient of each input [H], spec §Backward, from what kernels on rows know: `gain` = sum of m g, `count` = n,
 * `delta`, and the row's maximum and inverse sum `stat`. Needs BESIDE and EXPONENTIAL.
 */
export const GRADIENT_TERMS: PerHead<string> = {
  tau: 'gain / count',
  sink: '-exponential(sinkLogit(h), stat.x) * stat.y * delta',
};
