import {
  type Backend,
  formatShape,
  LEARNED_NAMES,
  learned,
  type Ops,
  ShapeError,
  statisticsDType,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { isFused } from '../attention/definition.ts';
import { attentionKind } from '../attention/registry.ts';
import type { AttentionConfig, AttentionOptionsInput } from '../model/config.ts';
import { type InitOptions, initialize } from '../model/init.ts';
import type { AttentionNames } from '../model/names.ts';
import { attentionNamesOf, attentionParameters, type Shapes, shapesOf } from '../model/parameters.ts';
import { resolveAttentionConfig } from '../model/resolve.ts';
import { disposeParams, optionalParam, type Params, param } from '../params.ts';
import { fixedBias } from './alibi.ts';
import { appendToCache, checkRoom, type KvCache } from './cache.ts';
import { composedOutput } from './composed.ts';
import { linear, linearInto, norm } from './linear.ts';
import type { AttentionForwardOptions, InnerOptions, Operands } from './operands.ts';
import { disposeRotation, rotate, scaledRotation } from './rotation.ts';
import { scoped } from './scoped.ts';
import { windowedStarts } from './window.ts';

/** An attention layer; it holds no tensors. */
export interface LazyAttentionLayer {
  /** With every default filled in. */
  readonly config: AttentionConfig;
  /** Of its parameters, by name. */
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
  const names = attentionNamesOf(config);
  const specs = attentionParameters(config, names);
  return {
    config,
    shapes: shapesOf(specs),
    init: (backend, seed, initOptions = {}) => initialize(backend, specs, initStd, seed, initOptions),
    forward(ops, params, x, forwardOptions = {}) {
      const y = scoped(ops, forwardOptions.observe, () => alone(ops, config, names, params, x, forwardOptions));
      if (forwardOptions.cache !== undefined) forwardOptions.cache.length += x.shape[1];
      return y;
    },
  };
}

/** The layer by itself, which makes what the layers of a model share. */
function alone(
  ops: Ops,
  config: AttentionConfig,
  names: AttentionNames,
  params: Params,
  x: Tensor,
  options: AttentionForwardOptions,
): Tensor {
  checkInput(config, x);
  const [batch, length] = x.shape;
  const offset = options.cache?.length ?? 0;
  const rotation = scaledRotation(x.backend, config, offset, length, x.dtype);
  const windowed = windowedStarts(x.backend, options.starts, { batch, length, offset }, config.slidingWindow);
  const y = attend(ops, config, names, params, x, { ...options, starts: windowed ?? options.starts, rotation });
  windowed?.dispose();
  disposeRotation(rotation);
  return y;
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
  const { numHeads, numKvHeads, headDim, attention } = config;
  const { cache, layer = 0, residual } = options;
  if (cache !== undefined) checkCache(ops, cache, layer, x);
  const [batch, length] = x.shape;
  const offset = cache?.length ?? 0;
  const kind = attentionKind(attention);

  const project = (name: 'q' | 'k' | 'v') => {
    const shape = [batch, length, name === 'q' ? numHeads : numKvHeads, headDim];
    const flat = linear(ops, x, param(params, names[name]), optionalParam(params, names.biases[name]));
    const split = ops.reshape(flat, shape);
    flat.dispose();
    return name === 'v' ? split : normedAndRotated(ops, split, name, { config, names, params, offset, options });
  };
  const q = project('q');
  let k = project('k');
  let v = project('v');
  if (cache !== undefined) {
    appendToCache(cache, layer, k, v);
    k.dispose();
    v.dispose();
    ({ k, v } = cache.layers[layer]);
  }

  const operands: Operands = { config, names, params, x, q, k, v, offset, keyLength: offset + length, options };
  const output = isFused(kind) ? fusedOutput(ops, operands) : composedOutput(ops, kind, operands);
  q.dispose();
  if (cache === undefined) {
    k.dispose();
    v.dispose();
  }

  const joined = ops.reshape(output, [batch, length, numHeads * headDim]);
  output.dispose();
  const o = param(params, names.o);
  const oBias = optionalParam(params, names.biases.o);
  const y = residual === undefined ? linear(ops, joined, o, oBias) : linearInto(ops, residual, joined, o, oBias);
  joined.dispose();
  return y;
}

/** spec §Forward, as one op. */
function fusedOutput(ops: Ops, { config, names, params, x, q, k, v, keyLength, options }: Operands): Tensor {
  const own =
    options.fixedBias === undefined ? fixedBias(x.backend, config, keyLength, statisticsDType(x.dtype)) : undefined;
  const zeros = fixedZeros(x.backend, config, statisticsDType(x.dtype));
  const given = learned((name) => optionalParam(params, names.own[name]) ?? zeros[name]);
  const inputs = { ...given, bias: given.bias ?? options.fixedBias ?? own, starts: options.starts ?? undefined };
  const { output, saved } = ops.attention(q, k, v, { ...inputs, keyLength, save: ops.records });
  saved.dispose(); // a tape keeps its own
  options.observe?.({ q, k, v, keyLength, ...inputs, output });
  own?.dispose();
  disposeParams(zeros);
  return output;
}

/** The inputs [H] that the kind does not learn but has, as zeros. */
function fixedZeros(backend: Backend, config: AttentionConfig, dtype: 'f32' | 'f64'): Params {
  const kind = attentionKind(config.attention);
  if (!isFused(kind)) return {};
  const names = LEARNED_NAMES.filter((name) => kind.fused[name] === 'zero');
  return Object.fromEntries(names.map((name) => [name, backend.zeros([config.numHeads], dtype)]));
}

/** q or k [B, L, heads, D] as its scores are made of: RMSNorm over D where the config says so, then RoPE. Uses up x. */
function normedAndRotated(
  ops: Ops,
  x: Tensor,
  name: 'q' | 'k',
  at: Pick<Operands, 'config' | 'names' | 'params' | 'offset' | 'options'>,
): Tensor {
  const { config, names, params, offset, options } = at;
  let y = x;
  const replace = (next: Tensor) => {
    y.dispose();
    y = next;
  };
  if (names.qkNorm !== null) replace(norm(ops, y, param(params, names.qkNorm[name]), config.normEpsilon));
  if (!attentionKind(config.attention).rope || options.rotates === false) return y;
  if (options.rotation !== undefined) replace(rotate(ops, y, options.rotation));
  else replace(ops.rope(y, { base: config.ropeBase, offset }));
  return y;
}

function checkInput(config: AttentionConfig, x: Tensor): void {
  if (x.shape.length !== 3 || x.shape[2] !== config.hiddenSize) {
    throw new ShapeError(`attention layer: x has shape ${formatShape(x.shape)}; expected [B, L, ${config.hiddenSize}]`);
  }
}

function checkCache(ops: Ops, cache: KvCache, layer: number, x: Tensor): void {
  if (ops.records) {
    throw new ValueError('attention layer: cache is for inference; leave it out inside valueAndGrad');
  }
  checkRoom(cache, layer, x);
}
