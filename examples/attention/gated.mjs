// Gated attention (Qwen3-Next): softmax attention by the fused op, its output times sigmoid(x W_g), W_g a parameter of its own.
// lazy-attention train --attention examples/attention/gated.mjs

/** @type {import('@lazy-attention/nn').AttentionSpec} */
export default {
  name: 'my-gated',
  label: 'Gated of the example',
  params: ({ numHeads, headDim, hiddenSize }) => ({
    'g_proj.weight': { shape: [numHeads * headDim, hiddenSize], init: 'normal' },
  }),
  attend(ops, { q, k, v, x, params, starts }) {
    const { output } = ops.attention(q, k, v, { starts });
    const gate = ops.unary('sigmoid', ops.matmul(x, params['g_proj.weight'], { transposeB: true }));
    return ops.mul(output, ops.reshape(gate, output.shape));
  },
};
