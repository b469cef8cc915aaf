import {
  computedDType,
  type Decoder,
  type DecoderLayerState,
  LEARNED_NAMES,
  learned,
  type Ops,
  type Tensor,
} from '@lazy-attention/core';
import { isFused } from '../attention/definition.ts';
import { attentionKind } from '../attention/registry.ts';
import type { LazyTransformerConfig } from '../model/config.ts';
import type { LayerNames } from '../model/names.ts';
import { optionalParam, type Params, param } from '../params.ts';
import { checkRoom, type KvCache } from './cache.ts';

/**
 * Whether the op that fuses a layer computes the model's layers. It knows no composed kinds, no scaled RoPE, no biases and no
 * norms of q and k: such models decode op by op.
 */
export function fusesLayers(config: LazyTransformerConfig): boolean {
  const { attention, ropeScaling, attentionBias, mlpBias, qkNorm } = config;
  const kind = attentionKind(attention);
  // An input that is no parameter is no operand of the op.
  const fuses = isFused(kind) && LEARNED_NAMES.every((name) => kind.fused[name] !== 'zero');
  return fuses && ropeScaling === null && attentionBias === null && !mlpBias && !qkNorm;
}

/** Whether the op that decodes several tokens computes the model: as `fusesLayers`, and all layers alike. */
export function fusesModel(config: LazyTransformerConfig): boolean {
  const alike = config.slidingWindow === null || config.fullAttentionLayers.length === 0;
  return fusesLayers(config) && alike && config.noRopeLayers.length === 0;
}

/** A layer in one launch. */
export type FusedLayer = NonNullable<Decoder['layer']>;

/** What takes a layer of one token per row in one launch, if the backend offers it and nobody wants to see what is inside. */
export function fusedLayer(
  ops: Ops,
  config: LazyTransformerConfig,
  x: Tensor,
  weight: Tensor,
  observe: unknown,
): FusedLayer | null {
  const layer = ops.decoder?.layer;
  if (layer === undefined || observe !== undefined || !fusesLayers(config)) return null;
  // Several tokens are a prompt, whose ops are long enough; weights of another type are cast op by op.
  return x.shape[1] === 1 && computedDType(weight.dtype) === x.dtype ? layer : null;
}

/** What a layer and its cache are to the backend. `fixedBias` is ALiBi's table, where that is the kind of attention. */
export function layerState(
  names: LayerNames,
  params: Params,
  cache: KvCache['layers'][number],
  fixedBias: Tensor | undefined,
): DecoderLayerState {
  const { attention, mlp } = names;
  const own = learned((name) => optionalParam(params, attention.own[name]));
  return {
    weights: {
      attentionNorm: param(params, names.attentionNorm),
      q: param(params, attention.q),
      k: param(params, attention.k),
      v: param(params, attention.v),
      o: param(params, attention.o),
      mlpNorm: param(params, names.mlpNorm),
      gate: param(params, mlp.gate),
      up: param(params, mlp.up),
      down: param(params, mlp.down),
    },
    keys: cache.k,
    values: cache.v,
    ...own,
    bias: own.bias ?? fixedBias,
  };
}

/** Null for kinds that rotate nothing. */
export function ropeBaseOf({ attention, ropeBase }: LazyTransformerConfig): number | null {
  return attentionKind(attention).rope ? ropeBase : null;
}

/** A whole layer, in place on x and the cache: what `attend` and `mlpInto` do op by op. */
export function decodeLayer(
  fused: FusedLayer,
  config: LazyTransformerConfig,
  names: LayerNames,
  params: Params,
  x: Tensor,
  context: {
    layer: number;
    cache: KvCache;
    starts: Tensor | null | undefined;
    fixedBias: Tensor | undefined;
    rotates: boolean;
  },
): void {
  const { layer, cache, starts, fixedBias, rotates } = context;
  checkRoom(cache, layer, x);
  const { weights, ...state } = layerState(names, params, cache.layers[layer], fixedBias);
  fused(x, weights, {
    ...state,
    position: cache.length,
    starts: starts ?? undefined,
    ropeBase: rotates ? ropeBaseOf(config) : null,
    epsilon: config.normEpsilon,
  });
}
