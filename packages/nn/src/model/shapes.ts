import type { Shape } from '@lazy-attention/core';
import type { AttentionConfig, LazyTransformerConfig } from './config.ts';
import { type AttentionNames, layerNames } from './names.ts';

export type Shapes = Readonly<Record<string, Shape>>;

export function hasBias(config: AttentionConfig): boolean {
  return config.attention === 'lazy' || config.attention === 'bias-only';
}

export function hasTau(config: AttentionConfig): boolean {
  return config.attention === 'lazy' || config.attention === 'elastic-only';
}

/** Parameters of one attention layer; Linear weights are [out, in]. */
export function attentionShapes(config: AttentionConfig, names: AttentionNames): Shapes {
  const { hiddenSize, numHeads, numKvHeads, headDim, window } = config;
  return {
    [names.q]: [numHeads * headDim, hiddenSize],
    [names.k]: [numKvHeads * headDim, hiddenSize],
    [names.v]: [numKvHeads * headDim, hiddenSize],
    [names.o]: [hiddenSize, numHeads * headDim],
    ...(hasBias(config) ? { [names.bias]: [numHeads, window] } : {}),
    ...(hasTau(config) ? { [names.tau]: [numHeads] } : {}),
  };
}

/** All parameters, with the names of flash-linear-attention. */
export function modelShapes(config: LazyTransformerConfig): Shapes {
  const { vocabSize, hiddenSize, intermediateSize, numLayers, tieEmbeddings } = config;
  let shapes: Shapes = { 'model.embeddings.weight': [vocabSize, hiddenSize] };
  for (const names of layerNames(numLayers)) {
    shapes = {
      ...shapes,
      [names.attentionNorm]: [hiddenSize],
      ...attentionShapes(config, names.attention),
      [names.mlpNorm]: [hiddenSize],
      [names.mlp.gate]: [intermediateSize, hiddenSize],
      [names.mlp.up]: [intermediateSize, hiddenSize],
      [names.mlp.down]: [hiddenSize, intermediateSize],
    };
  }
  shapes = { ...shapes, 'model.norm.weight': [hiddenSize] };
  return tieEmbeddings ? shapes : { ...shapes, 'lm_head.weight': [vocabSize, hiddenSize] };
}
