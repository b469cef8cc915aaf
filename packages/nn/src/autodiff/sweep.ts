import { type Backend, DisposedError, type Tensor, ValueError } from '@lazy-attention/core';
import type { Gradients } from './gradients.ts';
import { type Step, versionOf } from './rule.ts';

/**
 * Takes the steps from the last to the first; what the sweep no longer needs it frees at once. `passed` is called after each,
 * with its place.
 */
export function sweep(steps: Step[], gradients: Gradients, passed?: (step: number) => void): void {
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    const dy = gradients.take(step.output);
    if (dy !== undefined) {
      checkHeld(step);
      step.backward(dy.tensor, gradients, dy.exclusive);
      dy.tensor.dispose();
    }
    for (const held of step.held) held.dispose();
    passed?.(steps.length);
  }
}

/** By place of a step: the variables, of which there are `count`, whose gradients are whole once the sweep has passed it. */
export function wholeAfter(steps: readonly Step[], count: number): Map<number, number[]> {
  const seen = new Set<number>();
  const whole = new Map<number, number[]>();
  for (const [place, { inputs }] of steps.entries()) {
    // Variables have the first numbers. What no step before this one takes gets nothing more.
    const first = inputs.filter((node) => node < count && !seen.has(node));
    for (const node of first) seen.add(node);
    if (first.length > 0) whole.set(place, [...new Set(first)]);
  }
  return whole;
}

/** The gradient of a node, zeros where nothing reached it. It is memory of its own, so that a caller may add to it. */
export function finished(backend: Backend, gradients: Gradients, node: number, like: Tensor): Tensor {
  const gradient = gradients.take(node);
  if (gradient === undefined) return backend.zeros(like.shape, like.dtype);
  if (gradient.exclusive) return gradient.tensor;
  const copy = backend.scale(gradient.tensor, 1);
  gradient.tensor.dispose();
  return copy;
}

function checkHeld({ held, versions }: Step): void {
  if (held.some((item) => item.disposed)) {
    throw new DisposedError(
      'valueAndGrad: backend.scope inside fn has freed what the backward pass needs; use ops.scope, or dispose tensors one by one',
    );
  }
  if (held.some((item, i) => versionOf(item) !== versions[i])) {
    throw new ValueError(
      'valueAndGrad: a tensor that the backward pass needs has been written in place (copyInto, accumulate, adamw) since an op read it; write into a copy',
    );
  }
}
