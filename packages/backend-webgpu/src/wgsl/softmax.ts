import { isLogit } from './attention-optional.ts';
import { LOWEST, poisonOfSum } from './numbers.ts';

/**
 * One pass over a row for its maximum and sum of exponentials: `top` and `sum` (of exp(value - top)). One exponential per
 * value, of the distance to the maximum so far. `poison` is set where the row has no softmax. For kernels by row with both
 * reductions. With `beside`, what head `h` counts beside its keys (BESIDE) counts in both.
 */
export const softmaxOfRow = (value: string, first: string, end: string, beside = false): string => `
  var mine = ${LOWEST};
  var part = 0.0;${beside ? BESIDE_FIRST : ''}
  for (var j = ${first} + lane; j < ${end}; j += rowThreads) {
    let value = ${value};
    let factor = exp(-abs(value - mine));
    part = select(part + factor, part * factor + 1.0, value > mine);
    mine = max(mine, value);
  }
  let top = largest(mine, lane);
  let sum = total(part * exp(mine - top), lane);
  let poison = ${poisonOfSum('sum')};`;

/** It is the first value of the first invocation. */
const BESIDE_FIRST = `
  let beside = besideTop(h);
  if (lane == 0u && ${isLogit('beside')}) {
    mine = beside;
    part = besideSum(h, beside);
  }`;
