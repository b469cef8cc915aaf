import { linear } from '../../layers/linear.ts';
import type { ComposedAttention } from '../definition.ts';

/** spec §Attention kinds: softmax attention, and a gate per head and element on its output (Qwen3-Next). */
export const gated: ComposedAttention = {
  name: 'gated',
  label: 'Gated',
  description: 'softmax with RoPE, its output times sigmoid(x W_g)',
  role: 'baseline',
  comparedByDefault: false,
  color: { light: '#0f7c86', dark: '#4cc4cf' },
  symbol: 'arrow',
  rope: true,
  params: ({ numHeads, headDim, hiddenSize }) => ({
    'g_proj.weight': { shape: [numHeads * headDim, hiddenSize], init: 'normal' },
  }),
  remembers: () => ({}),
  attend(ops, { q, k, v, x, params, starts }) {
    const { output, saved } = ops.attention(q, k, v, { starts, save: ops.records });
    saved.dispose(); // a tape keeps its own
    const gate = ops.unary('sigmoid', linear(ops, x, params['g_proj.weight']));
    return ops.mul(output, ops.reshape(gate, output.shape));
  },
};
