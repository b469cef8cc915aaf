import type { Shape } from '@lazy-attention/core';
import type { AttentionConfig, LazyTransformerConfig } from './config.ts';

export type Shapes = Readonly<Record<string, Shape>>;

export function hasBias(config: AttentionConfig): boolean {
  return config.attention === 'lazy' || config.attention === 'bias-only';
}

export function hasTau(config: AttentionConfig): boolean {
  return config.attention === 'lazy' || config.attention === 'elastic-only';
}

/** Parameters of one attention layer; Linear weights are [out, in]. */
export function attentionShapes(config: AttentionConfig, prefix = ''): Shapes {
  const { hiddenSize, numHeads, numKvHeads, headDim, window } = config;
  return {
    [`${prefix}q_proj.weight`]: [numHeads * headDim, hiddenSize],
    [`${prefix}k_proj.weight`]: [numKvHeads * headDim, hiddenSize],
    [`${prefix}v_proj.weight`]: [numKvHeads * headDim, hiddenSize],
    [`${prefix}o_proj.weight`]: [hiddenSize, numHeads * headDim],
    ...(hasBias(config) ? { [`${prefix}bias`]: [numHeads, window] } : {}),
    ...(hasTau(config) ? { [`${prefix}tau`]: [numHeads] } : {}),
  };
}

/** All parameters, with the names of flash-linear-attention. */
export function modelShapes(config: LazyTransformerConfig): Shapes {
  const { vocabSize, hiddenSize, intermediateSize, numLayers, tieEmbeddings } = config;
  let shapes: Shapes = { 'model.embeddings.weight': [vocabSize, hiddenSize] };
  for (let layer = 0; layer < numLayers; layer++) {
    const prefix = layerPrefix(layer);
    shapes = {
      ...shapes,
      [`${prefix}attn_norm.weight`]: [hiddenSize],
      ...attentionShapes(config, `${prefix}attn.`),
      [`${prefix}mlp_norm.weight`]: [hiddenSize],
      [`${prefix}mlp.gate_proj.weight`]: [intermediateSize, hiddenSize],
      [`${prefix}mlp.up_proj.weight`]: [intermediateSize, hiddenSize],
      [`${prefix}mlp.down_proj.weight`]: [hiddenSize, intermediateSize],
    };
  }
  shapes = { ...shapes, 'model.norm.weight': [hiddenSize] };
  return tieEmbeddings ? shapes : { ...shapes, 'lm_head.weight': [vocabSize, hiddenSize] };
}

export function layerPrefix(layer: number): string {
  return `model.layers.${layer}.`;
}
