/** What all programs of the case 'train' share, so that they do the same work and their losses can be compared. */
import { createBackend } from '@lazy-attention/core';
import {
  decaysByDefault,
  disposeParams,
  type LazyTransformerConfig,
  lazyTransformer,
  uniform,
} from '@lazy-attention/nn';
import type { TrainCase } from './cases.ts';

/** Steps of one timed run: launches of one overlap with the work of the one before, as in training. */
export const STEPS = 3;

export const OPTIMIZER = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxNorm: 1,
} as const;

export interface HostParam {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readonly decays: boolean;
}

/** The parameters that `lazyTransformer(...).init` gives for seed 1, on the host. */
export async function initialParams(config: LazyTransformerConfig): Promise<HostParam[]> {
  const backend = await createBackend('cpu');
  const params = lazyTransformer(config).init(backend, 1);
  const host = await Promise.all(
    Object.entries(params).map(async ([name, tensor]) => ({
      name,
      shape: tensor.shape,
      values: (await tensor.data()) as Float32Array,
      decays: decaysByDefault(name, tensor),
    })),
  );
  disposeParams(params);
  await backend.dispose();
  return host;
}

/** [batch, context], the targets too: what is learnt does not matter here. */
export function trainingTokens({ model, batch }: TrainCase): Int32Array {
  const random = uniform(1, 'tokens');
  return Int32Array.from({ length: batch * model.context }, () => Math.floor(random() * model.vocabSize));
}

/** Constants of the formulas of spec §Forward for programs that compose them from general ops; matrices are [length, length]. */
export function attentionConstants(length: number): {
  /** Added to the scores: 0 where a key is attended, else very negative. */
  readonly mask: Float32Array;
  /** 1 / n where a key is attended, else 0: tau times it is what Elastic-Softmax adds. */
  readonly inverseCounts: Float32Array;
} {
  const causal = (attended: (row: number) => number, rest: number) =>
    Float32Array.from({ length: length * length }, (_, i) => {
      const row = Math.floor(i / length);
      return i % length <= row ? attended(row) : rest;
    });
  return { mask: causal(() => 0, -1e9), inverseCounts: causal((row) => 1 / (row + 1), 0) };
}

/** Cosines and sines of RoPE, [length, headDim / 2] each. */
export function ropeConstants(length: number, headDim: number, base: number): Record<'cos' | 'sin', Float32Array> {
  const half = headDim / 2;
  const table = (f: (angle: number) => number) =>
    Float32Array.from({ length: length * half }, (_, i) =>
      f(Math.floor(i / half) * base ** ((-2 * (i % half)) / headDim)),
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
