import { type Learned, learned } from '@lazy-attention/core';
import type { LazyTransformerOptions } from '@lazy-attention/nn';
import { ModelError } from '../errors.ts';
import { kindLearning, learnsAlike, learntBy } from '../kinds.ts';
import type { TensorStore } from '../tensors/store.ts';
import { ropeOf } from './rope.ts';
import { FlaSchema, type HfConfig, HfSchema, parseConfig } from './schema.ts';

/** What a configuration says, in the words of nn. */
export interface MappedConfig {
  /** Whose names the tensors have. */
  readonly layout: 'hf' | 'fla';
  readonly options: LazyTransformerOptions;
}

/** How an architecture differs from Llama. */
interface Architecture {
  readonly ropeBase?: number;
  readonly normEpsilon?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly tied?: boolean;
  readonly slidingWindow?: number;
  readonly maxPositions: number;
  readonly attentionBias: (config: HfConfig) => 'qkv' | 'qkvo' | null;
  readonly qkNorm?: boolean;
  /** Layers that attend through the sliding window; null where the architecture has none. */
  readonly slidingLayers?: (config: HfConfig, layer: number) => boolean;
  readonly noRope?: (config: HfConfig, layer: number) => boolean;
  /** Keys whose default, experts or scaled frequencies, is not what a file without them means here. */
  readonly needs?: readonly string[];
}

const biasIfSaid = ({ attention_bias: bias }: HfConfig) => (bias ? ('qkvo' as const) : null);
const qwenSliding = (config: HfConfig, layer: number) =>
  config.use_sliding_window === true && layer >= (config.max_window_layers ?? 28);
/** 1 in `no_rope_layers` says that the layer rotates. */
const smolNoRope = (config: HfConfig, layer: number) =>
  config.no_rope_layers == null
    ? (layer + 1) % (config.no_rope_layer_interval ?? 4) === 0
    : config.no_rope_layers[layer] === 0;

/** Defaults are those of transformers for keys that a file leaves out. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: { maxPositions: 2048, attentionBias: biasIfSaid },
  mistral: {
    maxPositions: 131072,
    attentionBias: () => null,
    kvHeads: 8,
    slidingWindow: 4096,
    slidingLayers: () => true,
  },
  qwen2: { maxPositions: 32768, attentionBias: () => 'qkv', slidingWindow: 4096, slidingLayers: qwenSliding },
  qwen3: {
    maxPositions: 32768,
    attentionBias: biasIfSaid,
    qkNorm: true,
    headDim: 128,
    slidingWindow: 4096,
    slidingLayers: qwenSliding,
  },
  smollm3: {
    maxPositions: 32768,
    attentionBias: biasIfSaid,
    ropeBase: 2_000_000,
    kvHeads: 4,
    tied: true,
    noRope: smolNoRope,
    slidingLayers: (config, layer) => config.use_sliding_window === true && smolNoRope(config, layer),
  },
  // With a dense MLP, as Llama's; experts are refused by `NEUTRAL`.
  gpt_oss: {
    maxPositions: 131072,
    attentionBias: ({ attention_bias: bias }) => ((bias ?? true) ? 'qkvo' : null),
    ropeBase: 150_000,
    kvHeads: 8,
    headDim: 64,
    slidingWindow: 128,
    slidingLayers: (_, layer) => layer % 2 === 0,
    needs: ['num_local_experts', 'rope_parameters'],
  },
};
/** Ours: Llama's keys and names, and what `attentionOf` reads. */
export const LAZY_TYPE = 'lazy_attention';
const LAZY: Architecture = { ...ARCHITECTURES.llama, slidingLayers: () => true };

/** Model types that are read, for messages. */
export const MODEL_TYPES = [...Object.keys(ARCHITECTURES), 'transformer', LAZY_TYPE];

/** Keys that change what a model computes, and the values at which they do not. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  hidden_act: ['silu', 'swish'],
  quantization_config: [],
  num_local_experts: [0, 1],
  num_experts: [0, 1],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  clip_qkv: [],
  embedding_multiplier: [1],
  residual_multiplier: [1],
  logits_scaling: [1],
  logit_scale: [1],
  is_encoder_decoder: [false],
  add_cross_attention: [false],
  elementwise_affine: [true],
  attn: [],
};

/** Maps config.json. `tensors` tells what no key does: the authors' Lazy Attention. @throws ModelError MODEL_CONFIG or MODEL_UNSUPPORTED */
export function mapConfig(path: string, json: Readonly<Record<string, unknown>>, tensors: TensorStore): MappedConfig {
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    const value = json[key];
    if (value == null || neutral.includes(value)) continue;
    const supported = neutral.length === 0 ? 'a model without it' : neutral.map((one) => String(one)).join(' or ');
    throw new ModelError(
      'MODEL_UNSUPPORTED',
      path,
      `key '${key}' is ${JSON.stringify(value)}; supported is ${supported}`,
    );
  }
  const type = json.model_type;
  if (typeof type === 'string' && Object.hasOwn(ARCHITECTURES, type))
    return mapHf(path, json, ARCHITECTURES[type], tensors);
  if (type === LAZY_TYPE) return mapHf(path, json, LAZY, tensors);
  if (type === 'transformer' || hasAuthorsNames(tensors)) return mapFla(path, json, tensors);
  throw new ModelError(
    'MODEL_UNSUPPORTED',
    path,
    `key 'model_type' is ${JSON.stringify(type)}; supported are ${MODEL_TYPES.join(', ')}`,
  );
}

function mapHf(
  path: string,
  json: Readonly<Record<string, unknown>>,
  architecture: Architecture,
  tensors: TensorStore,
): MappedConfig {
  const config = parseConfig(path, HfSchema, json);
  const { hidden_size: hiddenSize, num_attention_heads: numHeads, num_hidden_layers: numLayers } = config;
  if (config.intermediate_size == null)
    throw new ModelError('MODEL_CONFIG', path, "key 'intermediate_size' is missing");
  for (const key of architecture.needs ?? []) {
    if (json[key] == null) throw new ModelError('MODEL_CONFIG', path, `key '${key}' is missing`);
  }
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const kvHeads = 'num_key_value_heads' in json ? config.num_key_value_heads : architecture.kvHeads;
  const headDim = config.head_dim ?? architecture.headDim;
  const noRope = architecture.noRope;
  const checkLength = (key: 'layer_types' | 'no_rope_layers') => {
    const list = config[key];
    if (list != null && list.length !== numLayers) {
      throw new ModelError(
        'MODEL_CONFIG',
        path,
        `key '${key}' has ${list.length} entries; there are ${numLayers} layers`,
      );
    }
  };
  checkLength('layer_types');
  if (noRope !== undefined) checkLength('no_rope_layers');
  return {
    layout: 'hf',
    options: {
      ...attentionOf(path, json, tensors),
      vocabSize: config.vocab_size,
      hiddenSize,
      numLayers,
      numHeads,
      numKvHeads: kvHeads ?? numHeads,
      ...(headDim == null ? {} : { headDim }),
      context: config.max_position_embeddings ?? architecture.maxPositions,
      intermediateSize: config.intermediate_size,
      tieEmbeddings: config.tie_word_embeddings ?? architecture.tied ?? false,
      normEpsilon: config.rms_norm_eps ?? 1e-6,
      ...ropeOf(path, config, architecture.ropeBase ?? 10000),
      attentionBias: architecture.attentionBias(config),
      mlpBias: config.mlp_bias ?? false,
      qkNorm: architecture.qkNorm ?? false,
      ...slidingOf(config, architecture, json),
      noRopeLayers: noRope === undefined ? [] : layers.filter((layer) => noRope(config, layer)),
      ...(config.initializer_range ? { initStd: config.initializer_range } : {}),
    },
  };
}

/** The window, and the layers that do without. */
function slidingOf(config: HfConfig, { slidingLayers, slidingWindow }: Architecture, json: object) {
  const none = { slidingWindow: null, fullAttentionLayers: [] };
  const window = 'sliding_window' in json ? config.sliding_window : slidingWindow;
  if (slidingLayers === undefined || window == null) return none;
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer);
  const types = config.layer_types;
  const full = layers.filter((layer) =>
    types == null ? !slidingLayers(config, layer) : types[layer] === 'full_attention',
  );
  // Qwen says with one key that no layer slides, whatever the list says.
  const off = config.use_sliding_window === false || full.length === layers.length;
  return off ? none : { slidingWindow: window, fullAttentionLayers: full };
}

function mapFla(path: string, json: Readonly<Record<string, unknown>>, tensors: TensorStore): MappedConfig {
  const config = parseConfig(path, FlaSchema, json);
  const { hidden_size: hiddenSize, num_heads: numHeads } = config;
  // flash-linear-attention: two thirds of hidden_ratio times the width, up to a multiple of 256.
  const widened = Math.floor((hiddenSize * (config.hidden_ratio ?? 4) * 2) / 3);
  return {
    layout: 'fla',
    options: {
      ...attentionOf(path, json, tensors),
      vocabSize: config.vocab_size,
      hiddenSize,
      numLayers: config.num_hidden_layers,
      numHeads,
      numKvHeads: config.num_kv_heads ?? numHeads,
      context: config.max_position_embeddings ?? 2048,
      intermediateSize: config.intermediate_size ?? Math.ceil(widened / 256) * 256,
      tieEmbeddings: config.tie_word_embeddings ?? false,
      normEpsilon: config.norm_eps ?? 1e-6,
      ropeBase: config.rope_theta ?? 10000,
      attentionBias: config.qkv_bias ? 'qkv' : null,
      qkNorm: config.qk_norm ?? false,
      slidingWindow: config.window_size ?? null,
      ...(config.initializer_range ? { initStd: config.initializer_range } : {}),
    },
  };
}

/** Names of the authors' code (docs/spec.md §The authors' code). */
export const AUTHORS = { bias: 'learnable_bias_diagonals', tau: 'softmax_offset' } as const;

/** Other names of attention's learned inputs in files. */
const ALSO_CALLED: Partial<Learned<readonly string[]>> = { bias: [AUTHORS.bias], tau: [AUTHORS.tau], sink: ['sinks'] };

export function hasAuthorsNames(tensors: TensorStore): boolean {
  return Array.from(tensors.keys()).some((name) => name.endsWith(`.${AUTHORS.tau}`));
}

/** The kind of attention, from our own keys or else from the tensors of the first layer. */
function attentionOf(
  path: string,
  json: Readonly<Record<string, unknown>>,
  tensors: TensorStore,
): { readonly attention: string; readonly window?: number } {
  const own = (suffixes: readonly string[]) =>
    Array.from(tensors).find(([name]) => suffixes.some((suffix) => name.endsWith(`attn.${suffix}`)))?.[1];
  const tensorOf = learned((name) => own([name, ...(ALSO_CALLED[name] ?? [])]));
  const { bias } = tensorOf;
  const learns = learned((name) => tensorOf[name] !== undefined);
  const found = kindLearning(learns);
  if (found === null) {
    const has = Object.entries(learns).flatMap(([name, there]) => (there ? [name] : []));
    throw new ModelError('MODEL_UNSUPPORTED', path, `no kind of attention learns ${has.join(' and ')} together`);
  }
  const said = json.attention_kind as string | undefined;
  // Several kinds may have the same tensors: ALiBi has none of its own.
  if (said !== undefined && !learnsAlike(learntBy(said), learns)) {
    throw new ModelError(
      'MODEL_CONFIG',
      path,
      `key 'attention_kind' is ${JSON.stringify(said)}; the tensors say '${found}'`,
    );
  }
  return {
    attention: said ?? found,
    ...(bias === undefined ? {} : { window: bias.shape[1] }),
  };
}
