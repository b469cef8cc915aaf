import { checkOwned } from '../checks.ts';
import { ValueError } from '../errors.ts';
import type { TensorStore } from '../lifetimes/store.ts';
import { Tensor } from '../lifetimes/tensor.ts';
import { describe } from '../shape.ts';
import type { CustomOp, CustomResult, PlainOps } from './ops.ts';

/**
 * Runs `forward` and checks what it returns. The output is a tensor of its own, also where `forward` returned one of its
 * inputs. Everything else that was made is disposed, but for `saved`. For recorders, which keep that for `backward`.
 *
 * @throws ValueError for inputs or results that are not what `CustomOp` says
 */
export function runCustom(store: TensorStore & PlainOps, op: CustomOp): CustomResult {
  const { inputs } = op ?? {};
  if (!Array.isArray(inputs) || typeof op.forward !== 'function' || typeof op.backward !== 'function') {
    throw new ValueError('custom: expected { inputs, forward, backward }: an array of tensors and two functions');
  }
  for (const [i, x] of inputs.entries()) checkOwned(store, 'custom', `inputs[${i}]`, x);
  return store.scope(() => {
    const result = op.forward(store, inputs);
    const { output, saved } = Tensor.is(result) ? { output: result, saved: [] } : (result ?? {});
    if (!Tensor.is(output) || !Array.isArray(saved)) {
      throw new ValueError(`custom: forward returned ${describe(result)}; expected a Tensor or { output, saved }`);
    }
    checkOwned(store, 'custom', 'output', output);
    for (const [i, x] of saved.entries()) checkOwned(store, 'custom', `saved[${i}]`, x);
    // Views, so that the caller may dispose both without touching an input.
    return {
      output: store.reshape(output, output.shape),
      saved: saved.map((x) => store.reshape(x, x.shape)),
    };
  });
}
