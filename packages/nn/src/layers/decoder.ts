import { Backend, type DecoderLayerState, type Ops, type Tensor } from '@lazy-attention/core';
import { isFused } from '../attention/definition.ts';
import { attentionKind } from '../attention/registry.ts';
import type { LazyTransformerConfig } from '../model/config.ts';
import type { LayerNames } from '../model/names.ts';
import { optionalParam, type Params, param } from '../params.ts';
import { checkRoom, type KvCache } from './cache.ts';

/** Whether the op `attention`, and so the ops that fuse a layer, compute the model's kind of attention. */
export function fusesKind(config: LazyTransformerConfig): boolean {
  return isFused(attentionKind(config.attention));
}

/** The backend, if it takes a layer of one token per row in one launch, and nobody wants to see what is inside. */
export function fusingBackend(
  ops: Ops,
  config: LazyTransformerConfig,
  x: Tensor,
  weight: Tensor,
  observe: unknown,
): Backend | null {
  const fuses = ops instanceof Backend && ops.fusesDecoderLayer && observe === undefined && fusesKind(config);
  // Several tokens are a prompt, whose ops are long enough; weights of another type are cast op by op.
  return fuses && x.shape[1] === 1 && weight.dtype === x.dtype ? ops : null;
}

/** What a layer and its cache are to the backend. `fixedBias` is ALiBi's table, where that is the kind of attention. */
export function layerState(
  names: LayerNames,
  params: Params,
  cache: KvCache['layers'][number],
  fixedBias: Tensor | undefined,
): DecoderLayerState {
  const { attention, mlp } = names;
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
    bias: optionalParam(params, attention.own.bias) ?? fixedBias,
    tau: optionalParam(params, attention.own.tau),
  };
}

/** Null for kinds that rotate nothing. */
export function ropeBaseOf({ attention, ropeBase }: LazyTransformerConfig): number | null {
  return attentionKind(attention).rope ? ropeBase : null;
}

/** A whole layer, in place on x and the cache: what `attend` and `mlpInto` do op by op. */
export function decodeLayer(
  backend: Backend,
  config: LazyTransformerConfig,
  names: LayerNames,
  params: Params,
  x: Tensor,
  context: { layer: number; cache: KvCache; starts: Tensor | null | undefined; fixedBias: Tensor | undefined },
): void {
  const { layer, cache, starts, fixedBias } = context;
  checkRoom(cache, layer, x);
  const { weights, ...state } = layerState(names, params, cache.layers[layer], fixedBias);
  backend.decoderLayer(x, weights, {
    ...state,
    position: cache.length,
    starts: starts ?? undefined,
    ropeBase: ropeBaseOf(config),
    epsilon: config.normEpsilon,
  });
}
