import {
  Backend,
  formatShape,
  type Ops,
  type RopeOptions,
  type Shape,
  ShapeError,
  statisticsDType,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { Recorder } from '../autodiff/recorder.ts';
import { type AttentionConfig, type AttentionOptionsInput, resolveAttentionConfig } from '../model/config.ts';
import { type InitOptions, initialize } from '../model/init.ts';
import { type AttentionNames, attentionNames } from '../model/names.ts';
import { attentionShapes, hasBias, hasTau, type Shapes } from '../model/shapes.ts';
import { type Params, param } from '../params.ts';
import { alibiBias } from './alibi.ts';
import { appendToCache, checkRoom, type KvCache } from './cache.ts';
import { linear, linearInto } from './linear.ts';
import { scoped } from './scoped.ts';

/** What attention worked with, valid during the call that shows it. */
export interface ObservedAttention {
  /** [B, L, H, D], rotated. */
  readonly q: Tensor;
  /** [B, S, Hkv, D], rotated; with a cache, its whole capacity of which `keyLength` are in use. */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly keyLength: number;
  /** [H, W], learnt or ALiBi's. */
  readonly bias: Tensor | undefined;
  readonly tau: Tensor | undefined;
  readonly starts: Tensor | undefined;
  /** [B, L, H, D]: before the output projection. */
  readonly output: Tensor;
}

export interface AttentionForwardOptions {
  /** [B, L] i32: first key position that a row attends. Packed documents, left padding, sliding windows. */
  readonly starts?: Tensor | null | undefined;
  /** Keys and values of earlier tokens; those of x are added. For inference. */
  readonly cache?: KvCache | undefined;
  readonly observe?: ((attention: ObservedAttention) => void) | undefined;
}

interface InnerOptions extends AttentionForwardOptions {
  /** Which entry of the cache is this layer's. */
  readonly layer?: number;
  /** Added to the result, and used up. */
  readonly residual?: Tensor;
  /** ALiBi's table, when the caller has one for all layers. */
  readonly fixedBias?: Tensor | undefined;
}

export interface LazyAttentionLayer {
  readonly config: AttentionConfig;
  readonly shapes: Shapes;
  /** The caller disposes the parameters. */
  init(backend: Backend, seed: number, options?: InitOptions): Params;
  /**
   * x [B, L, hiddenSize] to [B, L, hiddenSize]. With a cache (`createCache(backend, layer.config, ...)`) x is the next L tokens, and
   * the cache is L longer afterwards.
   */
  forward(ops: Ops, params: Params, x: Tensor, options?: AttentionForwardOptions): Tensor;
}

/**
 * Lazy Attention as a layer: projections q, k, v and o, RoPE, learnable bias and Elastic-Softmax (spec §Forward). `attention`
 * in the options makes it a baseline or an ablation instead.
 *
 * @throws ConfigError
 */
export function lazyAttentionLayer(options: AttentionOptionsInput & { readonly initStd?: number }): LazyAttentionLayer {
  const { initStd = 0.02, ...rest } = options;
  const config = resolveAttentionConfig(rest);
  const names = attentionNames();
  const shapes = attentionShapes(config, names);
  return {
    config,
    shapes,
    init: (backend, seed, initOptions = {}) => initialize(backend, shapes, initStd, seed, initOptions),
    forward(ops, params, x, forwardOptions = {}) {
      const y = scoped(ops, forwardOptions.observe, () => attend(ops, config, names, params, x, forwardOptions));
      if (forwardOptions.cache !== undefined) forwardOptions.cache.length += x.shape[1];
      return y;
    },
  };
}

/** The layer's forward pass, without advancing the cache, which all layers of a model share. */
export function attend(
  ops: Ops,
  config: AttentionConfig,
  names: AttentionNames,
  params: Params,
  x: Tensor,
  options: InnerOptions,
): Tensor {
  checkInput(config, x);
  const { numHeads, numKvHeads, headDim, attention, ropeBase } = config;
  const { cache, layer = 0, residual } = options;
  if (cache !== undefined) checkCache(ops, cache, layer, x);
  const [batch, length] = x.shape;
  const offset = cache?.length ?? 0;
  const keyLength = offset + length;

  const rotation = attention === 'alibi' ? null : { base: ropeBase, offset };
  const kvShape = [batch, length, numKvHeads, headDim];
  const q = project(ops, x, param(params, names.q), [batch, length, numHeads, headDim], rotation);
  let k = project(ops, x, param(params, names.k), kvShape, rotation);
  let v = project(ops, x, param(params, names.v), kvShape, null);
  if (cache !== undefined) {
    appendToCache(cache, layer, k, v);
    k.dispose();
    v.dispose();
    ({ k, v } = cache.layers[layer]);
  }

  const alibi =
    attention === 'alibi' && options.fixedBias === undefined
      ? alibiBias(x.backend, numHeads, keyLength, statisticsDType(x.dtype))
      : undefined;
  const bias = hasBias(config) ? param(params, names.bias) : (options.fixedBias ?? alibi);
  const tau = hasTau(config) ? param(params, names.tau) : undefined;
  const starts = options.starts ?? undefined;
  const { output, saved } = ops.attention(q, k, v, { bias, tau, starts, keyLength, save: !(ops instanceof Backend) });
  saved.dispose(); // a tape keeps its own
  options.observe?.({ q, k, v, keyLength, bias, tau, starts, output });
  q.dispose();
  alibi?.dispose();
  if (cache === undefined) {
    k.dispose();
    v.dispose();
  }

  const joined = ops.reshape(output, [batch, length, numHeads * headDim]);
  output.dispose();
  const o = param(params, names.o);
  const y = residual === undefined ? linear(ops, joined, o) : linearInto(ops, residual, joined, o);
  joined.dispose();
  return y;
}

/** x through one projection, split into heads (`shape` is [B, L, heads, D]) and rotated. */
function project(ops: Ops, x: Tensor, weight: Tensor, shape: Shape, rotation: RopeOptions | null): Tensor {
  const flat = linear(ops, x, weight);
  const split = ops.reshape(flat, shape);
  flat.dispose();
  if (rotation === null) return split;
  const rotated = ops.rope(split, rotation);
  split.dispose();
  return rotated;
}

function checkInput(config: AttentionConfig, x: Tensor): void {
  if (x.shape.length !== 3 || x.shape[2] !== config.hiddenSize) {
    throw new ShapeError(`attention layer: x has shape ${formatShape(x.shape)}; expected [B, L, ${config.hiddenSize}]`);
  }
}

function checkCache(ops: Ops, cache: KvCache, layer: number, x: Tensor): void {
  if (ops instanceof Recorder) {
    throw new ValueError('attention layer: cache is for inference; leave it out inside valueAndGrad');
  }
  checkRoom(cache, layer, x);
}
