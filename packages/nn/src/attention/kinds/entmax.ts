import type { CustomOp, PlainOps, Tensor } from '@lazy-attention/core';
import type { ComposedAttention } from '../definition.ts';
import { type WeightFunction, weightedAttention } from '../rows.ts';

/** Newton halves its distance to the threshold until it is near, and then doubles its digits: enough for 2^20 keys. */
const STEPS = 16;
const LAST = { axes: [-1], keepDims: true } as const;

/**
 * The t with sum [s/2 - t]_+^2 = 1. The sum is convex and falls with t, so from max(s)/2 - 1, where it is at least 1, Newton's
 * steps go up to it and never beyond.
 */
function threshold(ops: PlainOps, half: Tensor): Tensor {
  const one = ops.full([], 1, half.dtype);
  let t = ops.binary('sub', ops.reduce('max', half, LAST), one);
  for (let step = 0; step < STEPS; step++) {
    t = ops.scope(() => {
      const above = ops.unary('relu', ops.binary('sub', half, t));
      const excess = ops.binary('sub', ops.reduce('sum', ops.unary('square', above), LAST), one);
      return ops.binary('add', t, ops.binary('div', excess, ops.scale(ops.reduce('sum', above, LAST), 2)));
    });
  }
  return t;
}

/** entmax-1.5 over the last axis. With g = sqrt(w): ds = g (dw - sum(g dw) / sum(g)). */
const entmax = (scores: Tensor): CustomOp => ({
  inputs: [scores],
  forward(ops, [scores]) {
    const half = ops.scale(scores, 0.5);
    return ops.unary('square', ops.unary('relu', ops.binary('sub', half, threshold(ops, half))));
  },
  backward(ops, dw, { output }) {
    const g = ops.unary('sqrt', output);
    const weighted = ops.binary('mul', g, dw);
    const mean = ops.binary('div', ops.reduce('sum', weighted, LAST), ops.reduce('sum', g, LAST));
    return [ops.binary('sub', weighted, ops.binary('mul', g, mean))];
  },
});

const weights: WeightFunction = (ops, { scores, mask }) => ops.custom(entmax(mask(scores)));

/** spec §Attention kinds: entmax-1.5 (arXiv 1905.05702). */
export const entmax15: ComposedAttention = {
  name: 'entmax',
  label: 'Entmax-1.5',
  description: 'a sparse softmax: [s/2 - threshold]_+^2, which sums to one',
  role: 'baseline',
  comparedByDefault: false,
  color: { light: '#8c5a2b', dark: '#e0a871' },
  symbol: 'roundRect',
  rope: true,
  params: () => ({}),
  remembers: () => ({}),
  attend: (ops, inputs) => weightedAttention(ops, inputs, weights),
};
