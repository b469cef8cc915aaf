import * as v from 'valibot';
import { ModelError } from '../errors.ts';

const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
/** Lists of layers are made from it before any tensor is looked for. */
const layers = v.pipe(size, v.maxValue(65536));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));
const optional = <T extends v.GenericSchema>(schema: T) => v.nullish(schema);

/** `rope_parameters`, or `rope_scaling` of older files. */
export const RopeSchema = v.looseObject({
  rope_type: optional(v.string()),
  type: optional(v.string()),
  rope_theta: optional(positive),
  factor: optional(positive),
  original_max_position_embeddings: optional(size),
  low_freq_factor: optional(positive),
  high_freq_factor: optional(positive),
  attention_factor: optional(positive),
  beta_fast: optional(positive),
  beta_slow: optional(positive),
  mscale: optional(v.number()),
  mscale_all_dim: optional(v.number()),
  truncate: optional(v.boolean()),
  partial_rotary_factor: optional(positive),
});

/** valibot takes an array for an object. */
const ropeObject = v.pipe(
  v.custom<object>((value) => !Array.isArray(value), 'Expected an object, found an array'),
  RopeSchema,
);

/** What is common to all architectures. Keys that are not here are looked at one by one, or say nothing about the function. */
const CommonSchema = v.looseObject({
  model_type: v.string(),
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: layers,
  intermediate_size: optional(size),
  max_position_embeddings: optional(size),
  tie_word_embeddings: optional(v.boolean()),
  initializer_range: optional(v.pipe(v.number(), v.finite(), v.minValue(0))),
  rope_theta: optional(positive),
  hidden_act: optional(v.string()),
});

/** config.json of Llama, Mistral, Qwen and SmolLM. */
export const HfSchema = v.looseObject({
  ...CommonSchema.entries,
  num_attention_heads: size,
  num_key_value_heads: optional(size),
  head_dim: optional(size),
  rms_norm_eps: optional(positive),
  rope_parameters: optional(ropeObject),
  rope_scaling: optional(ropeObject),
  attention_bias: optional(v.boolean()),
  mlp_bias: optional(v.boolean()),
  sliding_window: optional(size),
  use_sliding_window: optional(v.boolean()),
  max_window_layers: optional(count),
  layer_types: optional(v.array(v.picklist(['full_attention', 'sliding_attention']))),
  no_rope_layers: optional(v.array(v.picklist([0, 1]))),
  no_rope_layer_interval: optional(size),
});

/** config.json of flash-linear-attention's `transformer`. */
export const FlaSchema = v.looseObject({
  ...CommonSchema.entries,
  num_heads: size,
  num_kv_heads: optional(size),
  hidden_ratio: optional(positive),
  norm_eps: optional(positive),
  qkv_bias: optional(v.boolean()),
  qk_norm: optional(v.boolean()),
  window_size: optional(size),
});

export type HfConfig = v.InferOutput<typeof HfSchema>;
export type FlaConfig = v.InferOutput<typeof FlaSchema>;

/** Parses by a schema; the error names the key. @throws ModelError MODEL_CONFIG */
export function parseConfig<T extends v.GenericSchema>(path: string, schema: T, value: unknown): v.InferOutput<T> {
  const parsed = v.safeParse(schema, value, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const key = v.getDotPath(issue);
  throw new ModelError('MODEL_CONFIG', path, `${key === null ? '' : `key '${key}': `}${issue.message}`);
}
