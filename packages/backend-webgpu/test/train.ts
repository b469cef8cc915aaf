import type { Backend } from '@lazy-attention/core';
import {
  adamW,
  batchTensors,
  cosineSchedule,
  disposeParams,
  type LazyTransformerOptions,
  lazyTransformer,
  valueAndGrad,
} from '@lazy-attention/nn';

/**
 * Losses of a run on bytes of a fixed pattern, two packed documents per row; runs in Node and in a page. Leaves nothing
 * alive on the backend.
 */
export async function train(
  backend: Backend,
  options: LazyTransformerOptions,
  steps: number,
  every?: (step: number) => void,
): Promise<number[]> {
  const model = lazyTransformer(options);
  const { context } = model.config;
  const params = model.init(backend, 1);
  const optimizer = adamW(backend, params);
  const learningRate = cosineSchedule({ peak: 3e-3, warmupSteps: Math.min(5, steps), steps });
  const lossAndGrads = valueAndGrad(backend, model.loss);
  const byte = (at: number) => (at * 5 + (at % 3)) % 23;
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const batch = batchTensors(backend, {
      tokens: Int32Array.from({ length: context }, (_, i) => byte(step * 5 + i)),
      targets: Int32Array.from({ length: context }, (_, i) => byte(step * 5 + i + 1)),
      starts: Int32Array.from({ length: context }, (_, i) => (i < context / 2 ? 0 : context / 2)),
      batch: 1,
      length: context,
    });
    const { value, grads } = lossAndGrads(params, batch);
    const { gradNormSquared } = optimizer.step(grads, learningRate(step));
    losses.push((await value.data())[0]);
    for (const tensor of [value, gradNormSquared, ...Object.values(batch)]) tensor?.dispose();
    disposeParams(grads);
    every?.(step);
  }
  disposeParams(params);
  optimizer.dispose();
  return losses;
}
