import type { ComposedAttention } from '../definition.ts';
import { type WeightFunction, weightedAttention } from '../rows.ts';

const EPSILON = 1e-6;

/**
 * relu(e^(s-m) - e^-m) / (sum abs(e^(s-m) - e^-m) + eps), m the row's maximum. The difference is taken as
 * tanh(s/2) (e^(s-m) + e^-m), the same without cancellation: new models have scores near 0, where e^s - 1 has few digits left.
 */
const weights: WeightFunction = (ops, { scores, attended, mask }) => {
  const masked = mask(scores);
  const last = { axes: [-1], keepDims: true };
  const highest = ops.reduce('max', masked, last);
  const power = ops.unary('exp', ops.binary('sub', masked, highest));
  const twice = ops.binary('add', power, ops.unary('exp', ops.unary('neg', highest)));
  const above = ops.binary('mul', ops.unary('tanh', ops.scale(masked, 0.5)), twice);
  const kept = ops.binary('keep', attended, above);
  const sum = ops.reduce('sum', ops.unary('abs', kept), last);
  return ops.binary('div', ops.unary('relu', kept), ops.binary('add', sum, sum.backend.full([], EPSILON, sum.dtype)));
};

/** spec §Attention kinds: softpick (arXiv 2504.20966). */
export const softpick: ComposedAttention = {
  name: 'softpick',
  label: 'Softpick',
  description: 'a rectified softmax whose weights need not sum to one',
  role: 'baseline',
  comparedByDefault: false,
  color: { light: '#b3267d', dark: '#ff86c8' },
  symbol: 'pin',
  rope: true,
  params: () => ({}),
  remembers: () => ({}),
  attend: (ops, inputs) => weightedAttention(ops, inputs, weights),
};
