import {
  type Backend,
  formatShape,
  type Ops,
  ShapeError,
  statisticsDType,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { fixedBias } from '../layers/alibi.ts';
import { attend } from '../layers/attention.ts';
import type { KvCache } from '../layers/cache.ts';
import { decodeLayer, fusedLayer } from '../layers/decoder.ts';
import { linear, norm } from '../layers/linear.ts';
import { mlpInto } from '../layers/mlp.ts';
import type { ObservedAttention } from '../layers/operands.ts';
import { disposeRotation, scaledRotation } from '../layers/rotation.ts';
import { scoped } from '../layers/scoped.ts';
import { windowedStarts } from '../layers/window.ts';
import { type Params, param } from '../params.ts';
import type { LazyTransformerConfig, LazyTransformerOptions } from './config.ts';
import { type InitOptions, initialize } from './init.ts';
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
  loss(ops: Ops, params: Params, batch: Batch): Tensor;
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
  const layers = layerPlans(config);
  const run = (ops: Ops, params: Params, tokens: Tensor, forwardOptions: ForwardOptions = {}) =>
    scoped(ops, forwardOptions.observe, () => forward(ops, config, layers, params, tokens, forwardOptions));
  return {
    config,
    shapes: shapesOf(specs),
    init: (backend, seed, initOptions = {}) => initialize(backend, specs, config.initStd, seed, initOptions),
    forward: run,
    loss(ops, params, { tokens, targets, starts, count }) {
      const logits = run(ops, params, tokens, { starts });
      const { loss, lse } = ops.crossEntropy(logits, targets, { count });
      logits.dispose();
      lse.dispose();
      return loss;
    },
  };
}

/** What differs from layer to layer. */
interface LayerPlan {
  readonly names: LayerNames;
  readonly rotates: boolean;
  readonly slides: boolean;
}

function layerPlans(config: LazyTransformerConfig): readonly LayerPlan[] {
  return layerNamesOf(config).map((names, layer) => ({
    names,
    rotates: !config.noRopeLayers.includes(layer),
    slides: !config.fullAttentionLayers.includes(layer),
  }));
}

function forward(
  ops: Ops,
  config: LazyTransformerConfig,
  layers: readonly LayerPlan[],
  params: Params,
  tokens: Tensor,
  { starts, cache, positions = 'all', observe }: ForwardOptions,
): Tensor {
  const wanted = checkTokens(tokens, positions);
  const { normEpsilon } = config;
  const [batch, length] = tokens.shape;
  const offset = cache?.length ?? 0;
  const embeddings = param(params, 'model.embeddings.weight');
  let x = embed(ops, config, embeddings, tokens);
  const bias = fixedBias(tokens.backend, config, cache?.capacity ?? length, statisticsDType(x.dtype));
  const rotation = scaledRotation(tokens.backend, config, offset, length, x.dtype);
  const windowed = windowedStarts(tokens.backend, starts, { batch, length, offset }, config.slidingWindow);
  const fusing = cache === undefined ? null : fusedLayer(ops, config, x, embeddings, observe);
  for (let layer = 0; layer < layers.length; layer++) {
    const { names, rotates, slides } = layers[layer];
    const shared = { layer, starts: slides ? (windowed ?? starts) : starts, fixedBias: bias, rotates };
    if (fusing !== null && cache !== undefined) {
      decodeLayer(fusing, config, names, params, x, { ...shared, cache });
      continue;
    }
    const hidden = x;
    const h = norm(ops, x, param(params, names.attentionNorm), normEpsilon);
    x = attend(ops, config, names.attention, params, h, {
      ...shared,
      residual: x,
      cache,
      rotation,
      observe: observe && ((attention) => observe({ ...attention, index: layer, hidden })),
    });
    h.dispose();
    const m = norm(ops, x, param(params, names.mlpNorm), normEpsilon);
    x = mlpInto(ops, names.mlp, params, x, m);
    m.dispose();
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
  const h = norm(ops, x, param(params, 'model.norm.weight'), normEpsilon);
  x.dispose();
  const logits = linear(ops, h, config.tieEmbeddings ? embeddings : param(params, 'lm_head.weight'));
  h.dispose();
  return logits;
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
