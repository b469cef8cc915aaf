import { statisticsDType } from '@lazy-attention/core';
import { linear } from '../../layers/linear.ts';
import type { ComposedAttention } from '../definition.ts';
import { logSigmoid, runningSum } from '../functions.ts';
import { type WeightFunction, weightedAttention } from '../rows.ts';

const softmax: WeightFunction = (ops, { scores, mask }) => {
  const masked = mask(scores);
  return ops.unary('exp', ops.binary('sub', masked, ops.reduce('logSumExp', masked, { axes: [-1], keepDims: true })));
};

/** spec §Attention kinds: the forgetting transformer (arXiv 2503.02130), c the running sum of log sigmoid(x w_f + b_f). */
export const forgetting: ComposedAttention = {
  name: 'forgetting',
  label: 'Forgetting',
  description: 'softmax without RoPE, with a learnt decay per head and token',
  role: 'baseline',
  comparedByDefault: false,
  color: { light: '#4d5bc9', dark: '#9fabff' },
  symbol: 'triangle',
  rope: false,
  params: ({ numHeads, hiddenSize }) => ({
    'f_proj.weight': { shape: [numHeads, hiddenSize], init: 'normal' },
    'f_proj.bias': { shape: [numHeads], init: 0 },
  }),
  remembers: ({ numHeads }) => ({ forget: { per: 'token', shape: [numHeads] } }),
  attend(ops, inputs) {
    const { x, params, q, keyLength, offset, config, remember } = inputs;
    const [batch, heads] = [q.shape[0], config.numHeads];
    const gate = ops.cast(linear(ops, x, params['f_proj.weight'], params['f_proj.bias']), statisticsDType(x.dtype));
    const logs = ops.permute(remember('forget', logSigmoid(ops, gate)), [0, 2, 1]);
    const sums = runningSum(ops, logs);
    const byQuery = ops.reshape(ops.slice(sums, 2, offset, keyLength), [batch, heads, keyLength - offset, 1]);
    const byKey = ops.reshape(ops.unary('neg', sums), [batch, heads, 1, keyLength]);
    return weightedAttention(ops, inputs, softmax, { added: { byQuery, byKey } });
  },
};
