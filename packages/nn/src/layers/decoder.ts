import { Backend, type Ops, type Tensor } from '@lazy-attention/core';
import type { LazyTransformerConfig } from '../model/config.ts';
import type { LayerNames } from '../model/names.ts';
import { hasBias, hasTau } from '../model/shapes.ts';
import { type Params, param } from '../params.ts';
import { checkRoom, type KvCache } from './cache.ts';

export interface DecoderLayerContext {
  readonly layer: number;
  readonly cache: KvCache;
  readonly starts: Tensor | null | undefined;
  /** ALiBi's table, where that is the kind of attention. */
  readonly fixedBias: Tensor | undefined;
}

/** The backend, if it takes a layer of one token per row in one launch, and nobody wants to see what is inside. */
export function fusingBackend(ops: Ops, x: Tensor, weight: Tensor, observe: unknown): Backend | null {
  const fuses = ops instanceof Backend && ops.fusesDecoderLayer && observe === undefined;
  // Several tokens are a prompt, whose ops are long enough; weights of another type are cast op by op.
  return fuses && x.shape[1] === 1 && weight.dtype === x.dtype ? ops : null;
}

/** A whole layer, in place on x and the cache: what `attend` and `mlpInto` do op by op. */
export function decodeLayer(
  backend: Backend,
  config: LazyTransformerConfig,
  names: LayerNames,
  params: Params,
  x: Tensor,
  { layer, cache, starts, fixedBias }: DecoderLayerContext,
): void {
  checkRoom(cache, layer, x);
  const { attention, mlp } = names;
  backend.decoderLayer(
    x,
    {
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
    {
      keys: cache.layers[layer].k,
      values: cache.layers[layer].v,
      position: cache.length,
      bias: hasBias(config) ? param(params, attention.bias) : fixedBias,
      tau: hasTau(config) ? param(params, attention.tau) : undefined,
      starts: starts ?? undefined,
      ropeBase: config.attention === 'alibi' ? null : config.ropeBase,
      epsilon: config.normEpsilon,
    },
  );
}
