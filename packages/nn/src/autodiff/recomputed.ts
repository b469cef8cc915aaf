import type { Ops, Tensor } from '@lazy-attention/core';
import { Gradients } from './gradients.ts';
import { createRecorder } from './recorder.ts';
import { finished, sweep } from './sweep.ts';

/**
 * fn(ops, inputs), of which a tape keeps the inputs alone: the backward sweep computes fn again to differentiate it. Trades a
 * second forward pass for the memory of everything in between. Tensors that fn uses besides `inputs` count as constants.
 */
export function recomputed(
  ops: Ops,
  inputs: readonly Tensor[],
  fn: (ops: Ops, inputs: readonly Tensor[]) => Tensor,
): Tensor {
  if (!ops.records) return ops.scope(() => fn(ops, inputs));
  return ops.custom({
    inputs,
    forward: (plain, values) => fn(plain, values),
    backward: (_plain, dy, { inputs: values }) => pullback(fn, values, dy),
  });
}

/** Gradients of all inputs, of fn's output weighted by dy. */
function pullback(fn: (ops: Ops, inputs: readonly Tensor[]) => Tensor, inputs: readonly Tensor[], dy: Tensor) {
  const { backend } = dy;
  return backend.scope(() => {
    const recorder = createRecorder(backend);
    const nodes = inputs.map((x) => recorder.variable(x));
    const output = fn(recorder.ops, inputs);
    const gradients = new Gradients(backend);
    gradients.addView(recorder.nodeOf('recomputed', 'the result', output), dy, false);
    recorder.close();
    sweep(recorder.steps, gradients);
    return nodes.map((node, i) => finished(backend, gradients, node, inputs[i]));
  });
}
