import {
  type AttentionOptions,
  type AttentionResult,
  type ElasticSoftmaxOptions,
  LEARNED_NAMES,
  learned,
  type SavedAttention,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { type Rule, rule } from '../rule.ts';

/** spec §Forward and §Backward. `saved` in the result is empty: the tape keeps its own. */
export const attention: Rule<[q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions], AttentionResult> = {
  inputs: (q, k, v, options = {}) => ({ q, k, v, ...learned((name) => options[name]) }),
  plain: (ops, q, k, v, options = {}) => ops.attention(q, k, v, { save: false, ...options }),
  record({ ops, nodes }, q, k, v, options = {}) {
    if (options.save === false) {
      throw new ValueError('attention: save is false, and an input needs a gradient; leave save out');
    }
    const { output, saved } = ops.attention(q, k, v, options);
    return {
      result: { output, saved: emptySaved() },
      output,
      held: [saved],
      backward: (dy, into) => {
        const grads = ops.attentionGrad(dy, saved);
        into.add(nodes.q, grads.dq);
        into.add(nodes.k, grads.dk);
        into.add(nodes.v, grads.dv);
        for (const name of LEARNED_NAMES) into.add(nodes[name], grads[`d${name}`]);
      },
    };
  },
};

/** The dense weights of given scores. */
export const elasticSoftmax = rule(
  (scores: Tensor, { tau }: ElasticSoftmaxOptions = {}) => ({ scores, tau }),
  (ops, scores, options) => ops.elasticSoftmax(scores, options),
  ({ ops, nodes, hold }, _y, [scores, options = {}]) => {
    const heldScores = hold(scores);
    const tau = options.tau === undefined ? undefined : hold(options.tau);
    const starts = options.starts === undefined ? undefined : hold(options.starts);
    return (dy, into) => {
      const { dscores, dtau } = ops.elasticSoftmaxGrad(dy, heldScores, { tau, starts });
      into.add(nodes.scores, dscores);
      into.add(nodes.tau, dtau);
    };
  },
);

function emptySaved(): SavedAttention {
  let disposed = false;
  const dispose = () => {
    disposed = true;
  };
  return {
    get disposed() {
      return disposed;
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}
