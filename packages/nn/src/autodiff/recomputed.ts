import type { Ops, Tensor } from '@lazy-attention/core';
import { DIRECT, type DirectOp } from './direct.ts';
import { sweep } from './sweep.ts';

/** What `recomputed` computes again. */
type Recomputable = (ops: Ops, inputs: readonly Tensor[]) => Tensor;

/**
 * fn(ops, inputs), of which a tape keeps the inputs alone: the backward sweep computes fn again to differentiate it. Trades a
 * second forward pass for the memory of everything in between. Tensors that fn uses besides `inputs` count as constants, and have
 * to live until the gradient has been taken. fn leaves its inputs alone: it neither disposes them nor writes into them.
 */
export function recomputed(ops: Ops, inputs: readonly Tensor[], fn: Recomputable): Tensor {
  if (!ops.records) return ops.scope(() => fn(ops, inputs));
  const op: DirectOp = {
    inputs,
    forward: (plain, values) => fn(plain, values),
    backward: () => {
      throw new Error('recomputed: these ops record, but not with a recorder of nn');
    },
    [DIRECT]: (recording, held) => (dy, into) => {
      const recorder = recording.nested();
      for (const [i, x] of held.entries()) {
        const node = recording.nodes[`inputs[${i}]`];
        if (node !== undefined) recorder.variable(x, node);
      }
      const { node } = recording.ops.scope(() => {
        const output = fn(recorder.ops, held);
        const node = recorder.nodeOf('recomputed', 'the result', output);
        recorder.close();
        return { node, held: recorder.steps.map((step) => step.held) };
      });
      into.addView(node, dy, false);
      sweep(recorder.steps, into);
    },
  };
  return ops.custom(op);
}
