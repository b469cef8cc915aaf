// Softpick (arXiv 2504.20966): relu(e^(s-m) - e^-m) / (sum abs(e^(s-m) - e^-m) + eps), m the largest score of the row.
// lazy-attention train --attention examples/attention/softpick.mjs
import { weightedAttention } from '@lazy-attention/nn';

const row = { axes: [-1], keepDims: true };

/** @type {import('@lazy-attention/nn').AttentionSpec} */
export default {
  name: 'my-softpick',
  label: 'Softpick of the example',
  attend: (ops, inputs) =>
    weightedAttention(ops, inputs, (ops, { scores, attended, mask }) => {
      const s = mask(scores);
      const m = ops.reduce('max', s, row);
      // e^(s-m) - e^-m without cancellation: tanh(s/2) (e^(s-m) + e^-m)
      const sides = ops.binary('add', ops.unary('exp', ops.binary('sub', s, m)), ops.unary('exp', ops.unary('neg', m)));
      const kept = ops.binary('keep', attended, ops.binary('mul', ops.unary('tanh', ops.scale(s, 0.5)), sides));
      const sum = ops.reduce('sum', ops.unary('abs', kept), row);
      const epsilon = sum.backend.full([], 1e-6, sum.dtype);
      return ops.binary('div', ops.unary('relu', kept), ops.binary('add', sum, epsilon));
    }),
};
