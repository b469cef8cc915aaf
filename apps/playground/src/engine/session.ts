import { type Backend, LazyAttentionError, type Tensor } from '@lazy-attention/core';
import { createSampler, type Sampler } from '@lazy-attention/data/browser';
import {
  type AdamW,
  adamW,
  batchTensors,
  cosineSchedule,
  disposeParams,
  type LazyTransformer,
  lazyTransformer,
  type Params,
  valueAndGrad,
} from '@lazy-attention/nn';
import type { TrainingData } from './dataset.ts';
import { modelOptions, type Settings, warmupSteps } from './settings.ts';

/** One side in training. */
export interface Session {
  readonly model: LazyTransformer;
  readonly params: Params;
  /** Steps taken. */
  readonly step: number;
  /** Launches the next step; its loss is on the device. The caller disposes it. */
  launch(): Tensor;
  dispose(): void;
}

/** A side at step 0. Both sides of a training have the same seed and see the same batches. */
export function newSession(backend: Backend, settings: Settings, side: 0 | 1, data: TrainingData): Session {
  const { context, batch, seed, learningRate: peak, steps } = settings;
  const model = lazyTransformer(modelOptions(settings, side, data.tokenizer.vocabSize));
  const params = model.init(backend, seed);
  const optimizer: AdamW = adamW(backend, params);
  const sampler: Sampler = createSampler(data.train, { context, batch, seed });
  const schedule = cosineSchedule({ peak, warmupSteps: warmupSteps(settings), steps });
  const lossAndGrads = valueAndGrad(backend, model.loss);
  let step = 0;
  return {
    model,
    params,
    get step() {
      return step;
    },
    launch() {
      const tensors = batchTensors(backend, sampler.next());
      const { value, grads } = lossAndGrads(params, tensors);
      const { gradNormSquared } = optimizer.step(grads, schedule(step + 1));
      for (const tensor of [gradNormSquared, ...Object.values(tensors)]) tensor?.dispose();
      disposeParams(grads);
      step++;
      return value;
    },
    dispose() {
      disposeParams(params);
      optimizer.dispose();
    },
  };
}

/** A training that has gone wrong. */
export class DivergedError extends LazyAttentionError {
  constructor(step: number) {
    super('DIVERGED', `training: the loss is no number at step ${step}; reset, and try a lower learning rate`);
  }
}

/** One step of both sides; losses are from before the update. @throws DivergedError */
export async function stepBoth(sides: readonly Session[]): Promise<number[]> {
  const pending = sides.map((side) => side.launch());
  try {
    const losses = await Promise.all(pending.map(async (loss) => (await loss.data())[0] as number));
    if (!losses.every(Number.isFinite)) throw new DivergedError(sides[0]?.step ?? 0);
    return losses;
  } finally {
    for (const loss of pending) loss.dispose();
  }
}
