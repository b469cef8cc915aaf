import type { AdamWProblem, AdamWUpdate } from '@lazy-attention/core';
import { type Buffer, store, values } from './storage.ts';

/** The equations are in core's contract of `adamw`. */
export function adamw(updates: readonly AdamWUpdate<Buffer>[], problem: AdamWProblem<Buffer>): void {
  const { learningRate, beta1, beta2, epsilon, correction1, correction2, clip } = problem;
  const shrink = clip === null ? 1 : Math.min(1, clip.maxNorm / (Math.sqrt(clip.normSquared.buffer[0]) + 1e-6));
  for (const update of updates) {
    const grad = values(update.grad);
    const param = new Float64Array(update.param.buffer);
    const m = new Float64Array(update.m.buffer);
    const v = new Float64Array(update.v.buffer);
    for (let i = 0; i < grad.length; i++) {
      const g = grad[i] * shrink;
      param[i] -= learningRate * update.weightDecay * param[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      param[i] -= ((learningRate / correction1) * m[i]) / (Math.sqrt(v[i] / correction2) + epsilon);
    }
    update.param.buffer.set(store(param, update.param.dtype));
    update.m.buffer.set(store(m, update.m.dtype));
    update.v.buffer.set(store(v, update.v.dtype));
  }
}
