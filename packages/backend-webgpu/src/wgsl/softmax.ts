import { LOWEST, poisonOfSum } from './numbers.ts';

/**
 * One pass over a row for its maximum and sum of exponentials: `top` and `sum` (of exp(value - top)). One exponential per
 * value, of the distance to the maximum so far. `poison` is set where the row has no softmax. For kernels by row with both
 * reductions. `sinkLogit` names the logit of spec §Sink logit, which counts in both; -Infinity is none.
 */
export const softmaxOfRow = (value: string, first: string, end: string, sinkLogit?: string): string => `
  var mine = ${LOWEST};
  var part = 0.0;${sinkLogit === undefined ? '' : sinkFirst(sinkLogit)}
  for (var j = ${first} + lane; j < ${end}; j += rowThreads) {
    let value = ${value};
    let factor = exp(-abs(value - mine));
    part = select(part + factor, part * factor + 1.0, value > mine);
    mine = max(mine, value);
  }
  let top = largest(mine, lane);
  let sum = total(part * exp(mine - top), lane);
  let poison = ${poisonOfSum('sum')};`;

/** The sink is the first value of the first invocation. */
const sinkFirst = (logit: string): string => `
  if (lane == 0u && bitcast<u32>(${logit}) != 0xff800000u) {
    mine = ${logit};
    part = 1.0;
  }`;
