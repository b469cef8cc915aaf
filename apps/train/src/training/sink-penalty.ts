import { type Backend, learned, type Ops, type Tensor } from '@lazy-attention/core';
import type { Batch as HostBatch } from '@lazy-attention/data';
import type { LazyTransformer, ObservedLayer } from '@lazy-attention/nn';

/**
 * Mean weight on the first token of a row's document, over rows and heads, shape []: attention's output where the values
 * are 1 at first tokens and 0 elsewhere, so that its gradient reaches q, k and the learned inputs.
 */
export function firstTokenWeight(ops: Ops, layer: ObservedLayer, marks: Tensor): Tensor {
  const inputs = { ...learned((name) => layer[name]), starts: layer.starts };
  const { output, saved } = ops.attention(layer.q, layer.k, marks, inputs);
  saved.dispose();
  // Every entry of the last axis is the same number. A sum of so many is more than bf16 can tell.
  return ops.scale(ops.sum(asLoss(ops, output)), 1 / output.size);
}

/** `x` in the type of losses. */
export function asLoss(ops: Ops, x: Tensor): Tensor {
  return x.dtype === 'f32' ? x : ops.cast(x, 'f32');
}

/** In the place of values [B, L, Hkv, D] and in their type: 1 at the first token of each document, 0 elsewhere. */
export function firstTokenMarks(
  backend: Backend,
  { numKvHeads, headDim, computeDType }: LazyTransformer['config'],
  { batch, length, starts }: Pick<HostBatch, 'batch' | 'length' | 'starts'>,
): Tensor {
  const entry = numKvHeads * headDim;
  const marks = new Float32Array(batch * length * entry);
  for (let at = 0; at < batch * length; at++) {
    const first = (starts === null ? 0 : starts[at]) === at % length;
    if (first) marks.fill(1, at * entry, (at + 1) * entry);
  }
  return backend.tensor(marks, [batch, length, numKvHeads, headDim], computeDType ?? 'f32');
}
