import { isLogit } from './attention-optional.ts';
import { LOWEST, poisonOfSum } from './numbers.ts';

/** Values of an invocation that are summed in one go: in a longer sum of f32 the small ones would be lost beside a large one. */
const BLOCK = 64;

/**
 * One pass over a row for its maximum and sum of exponentials: `top` and `sum` (of exp(value - top)). One exponential per
 * value, of the distance to the maximum so far. `poison` is set where the row has no softmax. For kernels by row with both
 * reductions. With `beside`, what head `h` counts beside its keys (BESIDE) counts in both.
 */
export const softmaxOfRow = (value: string, first: string, end: string, beside = false): string => `
  var mine = ${LOWEST};
  var part = 0.0;${beside ? BESIDE_FIRST : ''}
  for (var begin = ${first} + lane; begin < ${end}; begin += ${BLOCK}u * rowThreads) {
    let before = mine;
    var block = 0.0;
    for (var j = begin; j < min(${end}, begin + ${BLOCK}u * rowThreads); j += rowThreads) {
      let value = ${value};
      let factor = exp(-abs(value - mine));
      block = select(block + factor, block * factor + 1.0, value > mine);
      mine = max(mine, value);
    }
    part = part * exp(before - mine) + block;
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
