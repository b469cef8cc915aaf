import {
  type Backend,
  formatShape,
  type Ops,
  ShapeError,
  statisticsDType,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { recomputed } from '../autodiff/recomputed.ts';
import { fixedBias } from '../layers/alibi.ts';
import { attend } from '../layers/attention.ts';
import type { KvCache } from '../layers/cache.ts';
import { decodeLayer, fusedLayer } from '../layers/decoder.ts';
import { inDType, linear, norm } from '../layers/linear.ts';
import { mlpInto } from '../layers/mlp.ts';
import type { InnerOptions, ObservedAttention } from '../layers/operands.ts';
import { disposeRotation, scaledRotation } from '../layers/rotation.ts';
import { scoped } from '../layers/scoped.ts';
import { windowedStarts } from '../layers/window.ts';
import { type Params, param } from '../params.ts';
import type { LazyTransformerConfig, LazyTransformerOptions } from './config.ts';
import { type InitOptions, initialize } from './init.ts';
import { chunkedLoss, lossSums } from './loss.ts';
import type { LayerNames } from './names.ts';
import { layerNamesOf, modelParameters, type Shapes, shapesOf } from './parameters.ts';
import { resolveConfig } from './resolve.ts';

/** One layer as metrics see it. The tensors are valid during the call only; what is launched on them is safe. */
export interface ObservedLayer extends ObservedAttention {
  /** Of the layer, from 0. */
  readonly index: number;
  /** [B, L, hiddenSize], what enters the layer. */
  readonly hidden: Tensor;
}

/** How a model runs. */
export interface ForwardOptions {
  /** [B, L] i32: first key position that a row attends; left out or null: 0. Not decreasing along a row. */
  readonly starts?: Tensor | null | undefined;
  /** From `createCache`: tokens follow those that it holds, and it holds them too afterwards. For inference. */
  readonly cache?: KvCache | undefined;
  /** How many positions, counted from the last, to compute logits of: [B, n, V]. 'last' is 1. Default 'all'. */
  readonly positions?: 'all' | 'last' | number | undefined;
  /** Called for each layer with what it worked with. */
  readonly observe?: ((layer: ObservedLayer) => void) | undefined;
  /** On a tape: keep what enters each layer, and compute the layer again in the backward sweep. Default false. */
  readonly recompute?: boolean | undefined;
}

/** How a loss is computed; none of it changes what is computed. */
export interface LossOptions {
  /** As in `ForwardOptions`. */
  readonly recompute?: boolean | undefined;
  /** Rows (tokens) of the LM head and the loss at a time, so that the logits never exist as a whole; left out: all. */
  readonly lossRows?: number | undefined;
}

/** What a training step learns from. */
export interface Batch {
  /** [B, L] i32 */
  readonly tokens: Tensor;
  /** [B, L] i32: the token after each; -100 where there is none to learn. */
  readonly targets: Tensor;
  /** As in `ForwardOptions`. */
  readonly starts?: Tensor | null | undefined;
  /** Of a part of a larger batch: the targets of that, by which the sum is divided (`CrossEntropyOptions.count`). */
  readonly count?: number | undefined;
}

/** A language model; it holds no tensors. */
export interface LazyTransformer {
  /** With every default filled in. */
  readonly config: LazyTransformerConfig;
  /** Of all parameters, by name. */
  readonly shapes: Shapes;
  /** New parameters, the same on every backend. The caller disposes them (`disposeParams`). */
  init(backend: Backend, seed: number, options?: InitOptions): Params;
  /** tokens [B, L] i32 to logits [B, L, V], which the caller disposes; on a tape, the tape does. */
  forward(ops: Ops, params: Params, tokens: Tensor, options?: ForwardOptions): Tensor;
  /** Mean cross entropy in nats per target that is not -100, shape []. */
  loss(ops: Ops, params: Params, batch: Batch, options?: LossOptions): Tensor;
  /**
   * Losses by position: cross entropies in nats, summed over consecutive rows of the batch's [B L]. Sum i ends before row `ends[i]`, and
   * the logits of one sum exist at a time. Shapes []; the caller disposes them.
   * @throws ValueError for ends that do not ascend to B L at most
   */
  lossSums(ops: Ops, params: Params, batch: Batch, ends: readonly number[]): readonly Tensor[];
}

/**
 * A decoder in LLaMA's style (pre-norm RMSNorm, attention, SwiGLU) as in flash-linear-attention, with Lazy Attention or one of
 * its baselines. Holds no tensors: parameters are a record that the caller owns.
 *
 * @throws ConfigError for unknown keys, sizes that are no positive integers or do not fit each other
 */
export function lazyTransformer(options: LazyTransformerOptions): LazyTransformer {
  const config = resolveConfig(options);
  const specs = modelParameters(config);
  const layers = layerPlans(config, Object.keys(specs));
  const run = (ops: Ops, params: Params, tokens: Tensor, forwardOptions: ForwardOptions = {}) =>
    scoped(ops, forwardOptions.observe, () => forward(ops, config, layers, params, tokens, forwardOptions));
  return {
    config,
    shapes: shapesOf(specs),
    init: (backend, seed, initOptions = {}) => initialize(backend, specs, config.initStd, seed, initOptions),
    forward: run,
    loss: (ops, params, batch, lossOptions = {}) =>
      ops.scope(() => modelLoss(ops, config, layers, params, batch, lossOptions)),
    lossSums: (ops, params, { tokens, targets, starts }, ends) =>
      ops.scope(() => {
        const h = hiddenStates(ops, config, layers, params, tokens, { starts });
        const weight = inDType(ops, headOf(config, params), h.dtype);
        const rows = ops.reshape(h, [tokens.size, config.hiddenSize]);
        return lossSums(ops, rows, weight, ops.reshape(targets, [tokens.size]), ends);
      }),
  };
}

/** What differs from layer to layer. */
interface LayerPlan {
  readonly names: LayerNames;
  readonly rotates: boolean;
  readonly slides: boolean;
  /** Names of all its parameters. */
  readonly parameters: readonly string[];
}

function layerPlans(config: LazyTransformerConfig, parameters: readonly string[]): readonly LayerPlan[] {
  const noRope = new Set(config.noRopeLayers);
  const full = new Set(config.fullAttentionLayers);
  // One pass: a file may claim thousands of layers before anyone has looked for their tensors.
  const byLayer: string[][] = Array.from({ length: config.numLayers }, () => []);
  for (const name of parameters) {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined) byLayer[Number(layer)].push(name);
  }
  return layerNamesOf(config).map((names, layer) => ({
    names,
    parameters: byLayer[layer],
    rotates: !noRope.has(layer),
    slides: !full.has(layer),
  }));
}

/** As `LazyTransformer.loss`. */
function modelLoss(
  ops: Ops,
  config: LazyTransformerConfig,
  layers: readonly LayerPlan[],
  params: Params,
  { tokens, targets, starts, count }: Batch,
  { recompute, lossRows = tokens.size }: LossOptions,
): Tensor {
  const h = hiddenStates(ops, config, layers, params, tokens, { starts, recompute });
  const head = headOf(config, params);
  if (lossRows >= tokens.size) {
    const logits = linear(ops, h, head);
    h.dispose();
    const { loss } = ops.crossEntropy(logits, targets, { count });
    logits.dispose();
    return loss;
  }
  const weight = inDType(ops, head, h.dtype);
  const rows = ops.reshape(h, [tokens.size, config.hiddenSize]);
  h.dispose();
  const counted = count ?? Math.max(1, targets.indexValues()?.filter((target) => target !== -100).length ?? 1);
  return chunkedLoss(ops, rows, weight, ops.reshape(targets, [tokens.size]), { rows: lossRows, count: counted });
}

function headOf({ tieEmbeddings }: LazyTransformerConfig, params: Params): Tensor {
  return param(params, tieEmbeddings ? 'model.embeddings.weight' : 'lm_head.weight');
}

function forward(
  ops: Ops,
  config: LazyTransformerConfig,
  layers: readonly LayerPlan[],
  params: Params,
  tokens: Tensor,
  options: ForwardOptions,
): Tensor {
  const h = hiddenStates(ops, config, layers, params, tokens, options);
  const logits = linear(ops, h, headOf(config, params));
  h.dispose();
  return logits;
}

/** [B, n, hiddenSize]: what the head turns into logits. */
function hiddenStates(
  ops: Ops,
  config: LazyTransformerConfig,
  layers: readonly LayerPlan[],
  params: Params,
  tokens: Tensor,
  { starts, cache, positions = 'all', observe, recompute = false }: ForwardOptions,
): Tensor {
  const wanted = checkTokens(tokens, positions);
  if (recompute && ops.records && observe !== undefined) {
    throw new ValueError('forward: recompute does not go with observe, whose tensors would not be on the tape');
  }
  const [batch, length] = tokens.shape;
  const offset = cache?.length ?? 0;
  const embeddings = param(params, 'model.embeddings.weight');
  let x = embed(ops, config, embeddings, tokens);
  const bias = fixedBias(tokens.backend, config, cache?.capacity ?? length, statisticsDType(x.dtype));
  const rotation = scaledRotation(tokens.backend, config, offset, length, x.dtype);
  const windowed = windowedStarts(tokens.backend, starts, { batch, length, offset }, config.slidingWindow);
  const fusing = cache === undefined ? null : fusedLayer(ops, config, x, embeddings, observe);
  for (let layer = 0; layer < layers.length; layer++) {
    const plan = layers[layer];
    const shared = {
      layer,
      starts: (plan.slides ? windowed : undefined) ?? starts ?? undefined,
      fixedBias: bias,
      rotates: plan.rotates,
    };
    if (fusing !== null && cache !== undefined) {
      decodeLayer(fusing, config, plan.names, params, x, { ...shared, cache });
      continue;
    }
    if (recompute && ops.records) {
      const next = recomputedLayer(ops, config, plan, params, x, { ...shared, rotation });
      x.dispose();
      x = next;
    } else {
      x = layerInto(ops, config, plan.names, params, x, { ...shared, cache, rotation }, observe);
    }
  }
  bias?.dispose();
  windowed?.dispose();
  disposeRotation(rotation);
  if (cache !== undefined) cache.length += length;
  if (wanted < length) {
    const last = ops.slice(x, 1, length - wanted, length);
    x.dispose();
    x = last;
  }
  const h = norm(ops, x, param(params, 'model.norm.weight'), config.normEpsilon);
  x.dispose();
  return h;
}

/** x after a layer. Uses up x: what is left of it is the result. */
function layerInto(
  ops: Ops,
  config: LazyTransformerConfig,
  names: LayerNames,
  params: Params,
  x: Tensor,
  shared: InnerOptions,
  observe: ForwardOptions['observe'],
): Tensor {
  const { layer: index = 0 } = shared;
  const h = norm(ops, x, param(params, names.attentionNorm), config.normEpsilon);
  const y = attend(ops, config, names.attention, params, h, {
    ...shared,
    residual: x,
    observe: observe && ((attention) => observe({ ...attention, index, hidden: x })),
  });
  h.dispose();
  const m = norm(ops, y, param(params, names.mlpNorm), config.normEpsilon);
  const z = mlpInto(ops, names.mlp, params, y, m);
  m.dispose();
  return z;
}

/** As `layerInto`, of which the tape keeps x alone; x stays as it is. */
function recomputedLayer(
  ops: Ops,
  config: LazyTransformerConfig,
  { names, parameters }: LayerPlan,
  params: Params,
  x: Tensor,
  { starts, fixedBias: bias, rotation, ...shared }: Omit<InnerOptions, 'cache' | 'observe' | 'residual'>,
): Tensor {
  // All that the layer reads has to be an input: the tape keeps inputs alive until the sweep has passed.
  const lent = { starts: starts ?? undefined, bias, cosines: rotation?.cosines, sines: rotation?.sines };
  const given = Object.entries({ x, ...lent }).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
  const inputs = [...given.map(([, tensor]) => tensor), ...parameters.map((name) => param(params, name))];
  return recomputed(ops, inputs, (inner, held) => {
    const own = Object.fromEntries(given.map(([name], i) => [name, held[i]]));
    const weights = Object.fromEntries(parameters.map((name, i) => [name, held[given.length + i]]));
    // The layer writes into its residual on a backend, and disposes it on a tape.
    const residual = inner.records ? inner.reshape(own.x, own.x.shape) : inner.scale(own.x, 1);
    const tables = rotation === undefined ? undefined : { cosines: own.cosines, sines: own.sines };
    const options = { ...shared, starts: own.starts, fixedBias: own.bias, rotation: tables };
    return layerInto(inner, config, names, weights, residual, options, undefined);
  });
}

/** Rows are cast after the lookup: far fewer than the table has, and the same values. */
function embed(ops: Ops, { computeDType }: LazyTransformerConfig, weight: Tensor, tokens: Tensor): Tensor {
  const rows = ops.embedding(weight, tokens);
  if (computeDType === null || rows.dtype === computeDType) return rows;
  const x = ops.cast(rows, computeDType);
  rows.dispose();
  return x;
}

/** How many positions logits are wanted of. */
function checkTokens(tokens: Tensor, positions: 'all' | 'last' | number): number {
  if (tokens.shape.length !== 2) {
    throw new ShapeError(`forward: tokens has shape ${formatShape(tokens.shape)}; expected [B, L]`);
  }
  const length = tokens.shape[1];
  if (positions === 'all') return length;
  if (positions === 'last') return 1;
  if (!Number.isInteger(positions) || positions < 1 || positions > length) {
    throw new ValueError(
      `forward: positions is '${positions}'; expected 'all', 'last' or an integer from 1 to ${length}`,
    );
  }
  return positions;
}
