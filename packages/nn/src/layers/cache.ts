import { type Backend, type DType, ShapeError, statisticsDType, type Tensor, ValueError } from '@lazy-attention/core';
import { isFused } from '../attention/definition.ts';
import { attentionKind } from '../attention/registry.ts';
import type { AttentionConfig } from '../model/config.ts';

/** How large a cache is. */
export interface CacheOptions {
  /** Rows that decode together. */
  readonly batch: number;
  /** Tokens there is room for, prompt and padding included. */
  readonly capacity: number;
  /** Type of the activations; default that of the config's forward pass, f32 without computeDType. */
  readonly dtype?: DType;
}

interface CacheSizes extends AttentionConfig {
  readonly numLayers?: number;
  readonly computeDType?: DType | null;
}

/** What one layer keeps. */
export interface LayerCache {
  /** [batch, capacity, kvHeads, headDim] */
  readonly k: Tensor;
  /** [batch, capacity, kvHeads, headDim] */
  readonly v: Tensor;
  /** What a composed kind `remembers`, [batch, capacity, ...] or [batch, ...], in the statistics type. */
  readonly own: Readonly<Record<string, Tensor>>;
}

/** Keys and values of the tokens so far, [batch, capacity, kvHeads, headDim] per layer, written in place. */
export interface KvCache {
  /** Tokens in it. `forward` advances it once all layers have theirs. */
  length: number;
  /** Rows that decode together. */
  readonly batch: number;
  /** Tokens there is room for. */
  readonly capacity: number;
  /** Where its tensors are. */
  readonly backend: Backend;
  /** One entry per layer. */
  readonly layers: readonly LayerCache[];
  /** Gives all tensors back. */
  dispose(): void;
}

/** All memory that decoding will need, in one go: adding a token copies that token and nothing else. */
export function createCache(backend: Backend, config: CacheSizes, options: CacheOptions): KvCache {
  const { batch, capacity, dtype = config.computeDType ?? 'f32' } = options;
  const shape = [batch, capacity, config.numKvHeads, config.headDim];
  const kind = attentionKind(config.attention);
  const own = isFused(kind) ? [] : Object.entries(kind.remembers(config));
  const layers = backend.scope(() =>
    Array.from({ length: config.numLayers ?? 1 }, () => ({
      k: backend.zeros(shape, dtype),
      v: backend.zeros(shape, dtype),
      own: Object.fromEntries(
        own.map(([name, { per, shape }]) => {
          const size = per === 'token' ? [batch, capacity, ...shape] : [batch, ...shape];
          return [name, backend.zeros(size, statisticsDType(dtype))];
        }),
      ),
    })),
  );
  return {
    length: 0,
    batch,
    capacity,
    backend,
    layers,
    dispose() {
      for (const { k, v, own } of layers) for (const tensor of [k, v, ...Object.values(own)]) tensor.dispose();
    },
  };
}

/** `x` [batch, count, ...] are the next tokens of `layer`: the cache has that layer, that batch, and room for them. */
export function checkRoom(cache: KvCache, layer: number, x: Tensor): void {
  if (cache.layers[layer] === undefined) {
    throw new ValueError(`attention layer: cache has ${cache.layers.length} layers; layer ${layer} needs one too`);
  }
  if (x.shape[0] !== cache.batch) {
    throw new ShapeError(`attention layer: x has batch ${x.shape[0]}; the cache was created for ${cache.batch}`);
  }
  if (cache.length + x.shape[1] > cache.capacity) {
    throw new ValueError(
      `cache: ${cache.length} tokens and ${x.shape[1]} more exceed the capacity of ${cache.capacity}; create it larger`,
    );
  }
}

/** Writes k and v of `layer` behind what the cache holds; `length` stays, for the other layers. */
export function appendToCache(cache: KvCache, layer: number, k: Tensor, v: Tensor): void {
  cache.backend.copyInto(cache.layers[layer].k, k, 1, cache.length);
  cache.backend.copyInto(cache.layers[layer].v, v, 1, cache.length);
}
