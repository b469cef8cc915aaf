import { LEARNED_INPUTS, LEARNED_NAMES, type Shape } from '@lazy-attention/core';
import { type AttentionParameter, isFused } from '../attention/definition.ts';
import { attentionKind } from '../attention/registry.ts';
import type { AttentionConfig, LazyTransformerConfig } from './config.ts';
import { type AttentionNames, attentionNames, type LayerNames, layerNames } from './names.ts';

/** Shapes of parameters by name. */
export type Shapes = Readonly<Record<string, Shape>>;
/** Parameters by name: shape and initial value. */
export type ParameterSpecs = Readonly<Record<string, AttentionParameter>>;

/** A Linear weight or an embedding. */
const matrix = (rows: number, columns: number): AttentionParameter => ({ shape: [rows, columns], init: 'normal' });
const ones = (size: number): AttentionParameter => ({ shape: [size], init: 1 });
const zeros = (size: number): AttentionParameter => ({ shape: [size], init: 0 });

/** Parameters of the layer's kind of attention, beside its projections. */
export function kindParameters(config: AttentionConfig): ParameterSpecs {
  const kind = attentionKind(config.attention);
  if (!isFused(kind)) return kind.params(config);
  const { numHeads, window } = config;
  const own = LEARNED_NAMES.filter((name) => kind.fused[name] === 'learned');
  return Object.fromEntries(
    own.map((name) => {
      const { axes, init } = LEARNED_INPUTS[name];
      return [name, { shape: axes === 'H' ? [numHeads] : [numHeads, window], init }];
    }),
  );
}

/** Names of the parameters of one attention layer by itself. */
export function attentionNamesOf(config: AttentionConfig): AttentionNames {
  return attentionNames(config, Object.keys(kindParameters(config)));
}

/** Names of the parameters of each layer of a model. */
export function layerNamesOf(config: LazyTransformerConfig): readonly LayerNames[] {
  return layerNames(config, Object.keys(kindParameters(config)));
}

/** Parameters of one attention layer; Linear weights are [out, in]. */
export function attentionParameters(config: AttentionConfig, names: AttentionNames): ParameterSpecs {
  const { hiddenSize, numHeads, numKvHeads, headDim } = config;
  const own = Object.entries(kindParameters(config)).map(([name, spec]) => [names.own[name], spec]);
  return {
    [names.q]: matrix(numHeads * headDim, hiddenSize),
    [names.k]: matrix(numKvHeads * headDim, hiddenSize),
    [names.v]: matrix(numKvHeads * headDim, hiddenSize),
    [names.o]: matrix(hiddenSize, numHeads * headDim),
    ...biasParameters(names.biases, {
      q: numHeads * headDim,
      k: numKvHeads * headDim,
      v: numKvHeads * headDim,
      o: hiddenSize,
    }),
    ...(names.qkNorm === null ? {} : { [names.qkNorm.q]: ones(headDim), [names.qkNorm.k]: ones(headDim) }),
    ...Object.fromEntries(own),
  };
}

/** Biases of the projections that have one. */
function biasParameters<P extends string>(
  names: { readonly [p in P]?: string },
  sizes: Record<P, number>,
): ParameterSpecs {
  const named = Object.entries(names) as [P, string][];
  return Object.fromEntries(named.map(([projection, name]) => [name, zeros(sizes[projection])]));
}

/** All parameters, with the names of flash-linear-attention. */
export function modelParameters(config: LazyTransformerConfig): ParameterSpecs {
  const { vocabSize, hiddenSize, intermediateSize, tieEmbeddings } = config;
  const specs: Record<string, AttentionParameter> = { 'model.embeddings.weight': matrix(vocabSize, hiddenSize) };
  for (const { attentionNorm, attention, mlpNorm, mlp } of layerNamesOf(config)) {
    Object.assign(specs, {
      [attentionNorm]: ones(hiddenSize),
      ...attentionParameters(config, attention),
      [mlpNorm]: ones(hiddenSize),
      [mlp.gate]: matrix(intermediateSize, hiddenSize),
      [mlp.up]: matrix(intermediateSize, hiddenSize),
      [mlp.down]: matrix(hiddenSize, intermediateSize),
      ...biasParameters(mlp.biases, { gate: intermediateSize, up: intermediateSize, down: hiddenSize }),
    });
  }
  specs['model.norm.weight'] = ones(hiddenSize);
  if (!tieEmbeddings) specs['lm_head.weight'] = matrix(vocabSize, hiddenSize);
  return specs;
}

/** The shapes alone. */
export function shapesOf(specs: ParameterSpecs): Shapes {
  return Object.fromEntries(Object.entries(specs).map(([name, { shape }]) => [name, shape]));
}
