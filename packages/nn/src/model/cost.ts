import { elementCount } from '@lazy-attention/core';
import type { LazyTransformerConfig, LazyTransformerOptions } from './config.ts';
import { modelParameters } from './parameters.ts';
import { resolveConfig } from './resolve.ts';

/** Number of trainable scalars. */
export function parameterCount(options: LazyTransformerOptions): number {
  return Object.values(modelParameters(resolveConfig(options))).reduce(
    (sum, { shape }) => sum + elementCount(shape),
    0,
  );
}

/**
 * Useful floating-point operations per token of one training step (forward and backward) at full context:
 *
 *   6 * M + 3 * layers * 4 * H * D * (context + 1) / 2      (fewer keys with a sliding window)
 *
 * M counts the weights that take part in a matrix product: all Linear weights and the LM head, not the embedding
 * lookup. Each costs a multiplication and an addition forward and twice that backward. Attention has two products of
 * 2 * H * D operations per attended key, q.k and w.v, and on average (context + 1) / 2 keys; backward is counted as
 * twice that. What an implementation recomputes, and everything that is no product (norms, softmax, RoPE, the
 * optimiser), is not counted: it is no work that the model asks for, or it is small.
 */
export function flopsPerToken(options: LazyTransformerOptions): number {
  const config = resolveConfig(options);
  const { numLayers, numHeads, headDim, vocabSize, hiddenSize } = config;
  let weights = vocabSize * hiddenSize; // the LM head, tied or not
  for (const [name, { shape }] of Object.entries(modelParameters(config))) {
    if (name.endsWith('_proj.weight')) weights += elementCount(shape);
  }
  const keys = Array.from({ length: numLayers }, (_, layer) => attendedKeys(config, layer));
  return 6 * weights + keys.reduce((sum, mean) => sum + 3 * 4 * numHeads * headDim * mean, 0);
}

/** Mean over the rows of a full context. */
function attendedKeys({ context, slidingWindow, fullAttentionLayers }: LazyTransformerConfig, layer: number): number {
  const most = fullAttentionLayers.includes(layer) ? context : Math.min(slidingWindow ?? context, context);
  return ((most * (most + 1)) / 2 + (context - most) * most) / context;
}
