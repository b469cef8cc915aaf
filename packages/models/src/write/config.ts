import type { Tokenizer } from '@lazy-attention/data';
import type { LazyTransformerConfig, RopeScaling } from '@lazy-attention/nn';
import { ModelError } from '../errors.ts';
import { LAZY_TYPE } from '../hf/config.ts';
import { isLlamas, learntBy, writtenKinds } from '../kinds.ts';

/** Element type of the written weights. */
export type WriteDType = 'f32' | 'bf16' | 'f16' | 'f64';

const TORCH: Readonly<Record<WriteDType, string>> = {
  f32: 'float32',
  bf16: 'bfloat16',
  f16: 'float16',
  f64: 'float64',
};

/**
 * config.json with Hugging Face's keys: the architecture of transformers that computes the same, or ours where there is none.
 * @throws ModelError MODEL_WRITE for a model that no architecture describes
 */
export function hfConfig(
  path: string,
  config: LazyTransformerConfig,
  tokenizer: Tokenizer | null,
  dtype: WriteDType,
): object {
  const type = hfTypeOf(path, config);
  if (config.ropeScaling?.type === 'dynamic' && config.ropeScaling.originalContext !== config.context) {
    const { originalContext } = config.ropeScaling;
    throw new ModelError(
      'MODEL_WRITE',
      path,
      `dynamic scaling from ${originalContext} tokens cannot be said; config.json takes the context, ${config.context}`,
    );
  }
  const { numLayers, slidingWindow, fullAttentionLayers, noRopeLayers } = config;
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const types = layers.map((layer) =>
    slidingWindow === null || fullAttentionLayers.includes(layer) ? 'full_attention' : 'sliding_attention',
  );
  const sliding =
    type.name === 'mistral'
      ? { sliding_window: slidingWindow }
      : slidingWindow === null
        ? {}
        : { use_sliding_window: true, sliding_window: slidingWindow, layer_types: types };
  return {
    architectures: [type.architecture],
    model_type: type.name,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: numLayers,
    num_attention_heads: config.numHeads,
    num_key_value_heads: config.numKvHeads,
    head_dim: config.headDim,
    hidden_act: 'silu',
    max_position_embeddings: config.context,
    rms_norm_eps: config.normEpsilon,
    rope_theta: config.ropeBase,
    rope_scaling: hfScaling(config.ropeScaling),
    attention_bias: config.attentionBias !== null,
    mlp_bias: config.mlpBias,
    ...sliding,
    ...(type.name === 'smollm3'
      ? { no_rope_layers: layers.map((layer) => (noRopeLayers.includes(layer) ? 0 : 1)) }
      : {}),
    tie_word_embeddings: config.tieEmbeddings,
    initializer_range: config.initStd,
    ...tokenIds(tokenizer),
    torch_dtype: TORCH[dtype],
    ...(type.name === LAZY_TYPE ? lazyKeys(config) : {}),
  };
}

/** config.json of flash-linear-attention's `transformer`. @throws ModelError MODEL_WRITE for options that it lacks */
export function flaConfig(
  path: string,
  config: LazyTransformerConfig,
  tokenizer: Tokenizer | null,
  dtype: WriteDType,
): object {
  checkKind(path, config);
  const lacks = (what: string) =>
    new ModelError('MODEL_WRITE', path, `fla's transformer has no ${what}; write --format hf`);
  if (config.mlpBias) throw lacks('bias in its MLP (mlpBias)');
  if (config.attentionBias === 'qkvo') throw lacks('bias behind its heads (attentionBias qkvo)');
  if (config.ropeScaling !== null) throw lacks(`rotary scaling (ropeScaling ${config.ropeScaling.type})`);
  if (config.noRopeLayers.length > 0) throw lacks('layers without RoPE (noRopeLayers)');
  if (config.slidingWindow !== null && config.fullAttentionLayers.length > 0)
    throw lacks('layers without window (fullAttentionLayers)');
  if (config.headDim * config.numHeads !== config.hiddenSize)
    throw lacks(`heads of another width than hiddenSize / numHeads (headDim ${config.headDim})`);
  return {
    architectures: ['TransformerForCausalLM'],
    model_type: 'transformer',
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.numLayers,
    num_heads: config.numHeads,
    num_kv_heads: config.numKvHeads,
    qkv_bias: config.attentionBias === 'qkv',
    qk_norm: config.qkNorm,
    window_size: config.slidingWindow,
    rope_theta: config.ropeBase,
    max_position_embeddings: config.context,
    hidden_act: 'swish',
    norm_eps: config.normEpsilon,
    tie_word_embeddings: config.tieEmbeddings,
    initializer_range: config.initStd,
    ...tokenIds(tokenizer),
    torch_dtype: TORCH[dtype],
    ...(isLlamas(config.attention) ? {} : lazyKeys(config)),
  };
}

function lazyKeys({ attention, window }: LazyTransformerConfig): object {
  const hasBias = learntBy(attention)?.bias === true;
  return { attention_kind: attention, ...(hasBias ? { attention_bias_width: window } : {}) };
}

function checkKind(path: string, { attention }: LazyTransformerConfig): void {
  if (learntBy(attention) !== null) return;
  throw new ModelError(
    'MODEL_WRITE',
    path,
    `attention '${attention}' has no file of its own; written are ${writtenKinds().join(', ')}`,
  );
}

/** The architecture of transformers with these options. */
export function hfTypeOf(
  path: string,
  config: LazyTransformerConfig,
): { readonly name: string; readonly architecture: string } {
  checkKind(path, config);
  const { attentionBias, qkNorm, mlpBias, slidingWindow, fullAttentionLayers, noRopeLayers } = config;
  const all = slidingWindow !== null && fullAttentionLayers.length === 0;
  const plain = noRopeLayers.length === 0 && !mlpBias;
  if (!isLlamas(config.attention)) {
    if (!qkNorm && noRopeLayers.length === 0 && attentionBias !== 'qkv') {
      return { name: LAZY_TYPE, architecture: 'LazyAttentionForCausalLM' };
    }
  } else if (qkNorm) {
    if (plain && attentionBias !== 'qkv') return { name: 'qwen3', architecture: 'Qwen3ForCausalLM' };
  } else if (attentionBias === 'qkv') {
    if (plain) return { name: 'qwen2', architecture: 'Qwen2ForCausalLM' };
  } else if (noRopeLayers.length > 0 || (slidingWindow !== null && !all)) {
    return { name: 'smollm3', architecture: 'SmolLM3ForCausalLM' };
  } else if (slidingWindow !== null) {
    if (plain && attentionBias === null) return { name: 'mistral', architecture: 'MistralForCausalLM' };
    return { name: 'smollm3', architecture: 'SmolLM3ForCausalLM' };
  } else {
    return { name: 'llama', architecture: 'LlamaForCausalLM' };
  }
  throw new ModelError(
    'MODEL_WRITE',
    path,
    `no architecture of transformers has these options together: ${JSON.stringify({ attentionBias, qkNorm, mlpBias, slidingWindow, fullAttentionLayers, noRopeLayers })}`,
  );
}

/** In the keys that transformers 4 and 5 both read. */
function hfScaling(scaling: RopeScaling | null): object | null {
  if (scaling === null) return null;
  const { type: rope_type, factor } = scaling;
  switch (scaling.type) {
    case 'linear':
    case 'dynamic':
      return { rope_type, factor };
    case 'llama3':
      return {
        rope_type,
        factor,
        low_freq_factor: scaling.lowFrequencyFactor,
        high_freq_factor: scaling.highFrequencyFactor,
        original_max_position_embeddings: scaling.originalContext,
      };
    case 'yarn':
      return {
        rope_type,
        factor,
        original_max_position_embeddings: scaling.originalContext,
        ...(scaling.betaFast === undefined ? {} : { beta_fast: scaling.betaFast }),
        ...(scaling.betaSlow === undefined ? {} : { beta_slow: scaling.betaSlow }),
        ...(scaling.attentionFactor === undefined ? {} : { attention_factor: scaling.attentionFactor }),
        ...(scaling.truncate === undefined ? {} : { truncate: scaling.truncate }),
      };
  }
}

function tokenIds(tokenizer: Tokenizer | null): object {
  return {
    bos_token_id: tokenizer?.bosId ?? null,
    eos_token_id: tokenizer?.eosId ?? null,
    pad_token_id: tokenizer?.padId ?? null,
  };
}
