import type {
  CrossEntropyOptions,
  CrossEntropyResult,
  RmsNormOptions,
  RopeOptions,
  Tensor,
} from '@lazy-attention/core';
import { type Rule, rule } from '../rule.ts';

/** Root mean square norm over the last axis. */
export const rmsNorm = rule(
  (x: Tensor, weight: Tensor, _options?: RmsNormOptions) => ({ x, weight }),
  (ops, x, weight, options) => ops.rmsNorm(x, weight, options),
  ({ ops, nodes, hold }, _y, [x, weight, options]) => {
    const [heldX, heldWeight] = [hold(x), hold(weight)];
    return (dy, into) => {
      const { dx, dweight } = ops.rmsNormGrad(dy, heldX, heldWeight, options);
      into.add(nodes.x, dx);
      into.add(nodes.weight, dweight);
    };
  },
);

/** spec §RoPE. */
export const rope = rule(
  (x: Tensor, _options?: RopeOptions) => ({ x }),
  (ops, x, options) => ops.rope(x, options),
  ({ ops, nodes }, _y, [, options]) =>
    (dy, into) =>
      into.add(nodes.x, ops.ropeGrad(dy, options)),
);

/** gate * sigmoid(gate) * up. */
export const swiglu = rule(
  (gate: Tensor, up: Tensor) => ({ gate, up }),
  (ops, gate, up) => ops.swiglu(gate, up),
  ({ ops, nodes, hold }, _y, [gate, up]) => {
    const [heldGate, heldUp] = [hold(gate), hold(up)];
    return (dy, into) => {
      const { dgate, dup } = ops.swigluGrad(dy, heldGate, heldUp);
      into.add(nodes.gate, dgate);
      into.add(nodes.up, dup);
    };
  },
);

/** Rows of a table. */
export const embedding = rule(
  (weight: Tensor, ids: Tensor) => ({ weight, ids }),
  (ops, weight, ids) => ops.embedding(weight, ids),
  ({ ops, nodes, hold }, _y, [weight, ids]) => {
    const held = hold(ids);
    const vocabulary = weight.shape[0];
    return (dy, into) => into.add(nodes.weight, ops.embeddingGrad(dy, held, vocabulary));
  },
);

/** Only `loss` is differentiable; every other op refuses `lse`. */
export const crossEntropy: Rule<[logits: Tensor, targets: Tensor, options?: CrossEntropyOptions], CrossEntropyResult> =
  {
    inputs: (logits, targets) => ({ logits, targets }),
    plain: (ops, logits, targets, options) => ops.crossEntropy(logits, targets, options),
    record({ ops, nodes, hold }, logits, targets, options) {
      const result = ops.crossEntropy(logits, targets, options);
      const [heldLogits, heldTargets, lse] = [hold(logits), hold(targets), hold(result.lse)];
      return {
        result,
        output: result.loss,
        backward: (dy, into) => into.add(nodes.logits, ops.crossEntropyGrad(dy, heldLogits, heldTargets, lse, options)),
        refused: [[result.lse, 'is lse of crossEntropy, which is not differentiable; only loss is']],
      };
    },
  };
