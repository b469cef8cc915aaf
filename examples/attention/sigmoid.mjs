// Sigmoid attention (arXiv 2409.04431): every weight by itself, sigmoid(s - log n), n the number of keys that a row attends.
// lazy-attention train --attention examples/attention/sigmoid.mjs
import { weightedAttention } from '@lazy-attention/nn';

/** @type {import('@lazy-attention/nn').AttentionSpec} */
export default {
  name: 'my-sigmoid',
  label: 'Sigmoid of the example',
  attend: (ops, inputs) =>
    weightedAttention(ops, inputs, (ops, { scores, count, mask }) =>
      ops.unary('sigmoid', ops.binary('sub', mask(scores), ops.unary('log', count))),
    ),
};
