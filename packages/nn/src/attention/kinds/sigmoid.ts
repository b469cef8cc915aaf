import type { ComposedAttention } from '../definition.ts';
import { type WeightFunction, weightedAttention } from '../rows.ts';

/** sigmoid(s - log n), which is 0 of -Infinity. */
const weights: WeightFunction = (ops, { scores, count, mask }) =>
  ops.unary('sigmoid', ops.binary('sub', mask(scores), ops.unary('log', count)));

/** spec §Attention kinds: sigmoid attention (arXiv 2409.04431). */
export const sigmoid: ComposedAttention = {
  name: 'sigmoid',
  label: 'Sigmoid',
  description: 'each weight by itself: sigmoid(s - log n)',
  role: 'baseline',
  comparedByDefault: false,
  color: { light: '#6b7d00', dark: '#c3d94a' },
  symbol: 'diamond',
  rope: true,
  params: () => ({}),
  remembers: () => ({}),
  attend: (ops, inputs) => weightedAttention(ops, inputs, weights),
};
