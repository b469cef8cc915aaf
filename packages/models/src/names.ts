import { LEARNED_NAMES } from '@lazy-attention/core';

/** Whose names tensors have: transformers' Llama, flash-linear-attention (nn's own), or llama.cpp. */
export type Layout = 'hf' | 'fla' | 'gguf';

const HF: readonly (readonly [from: string, to: string])[] = [
  ['model.embeddings.', 'model.embed_tokens.'],
  ['.attn_norm.', '.input_layernorm.'],
  ['.mlp_norm.', '.post_attention_layernorm.'],
  ['.attn.sink', '.self_attn.sinks'],
  ['.attn.', '.self_attn.'],
];

const GGUF: readonly (readonly [from: string, to: string])[] = [
  ['model.embeddings.', 'token_embd.'],
  ['model.norm.', 'output_norm.'],
  ['lm_head.', 'output.'],
  ['model.layers.', 'blk.'],
  ['.mlp_norm.', '.ffn_norm.'],
  ['.attn.q_proj.', '.attn_q.'],
  ['.attn.k_proj.', '.attn_k.'],
  ['.attn.v_proj.', '.attn_v.'],
  ['.attn.o_proj.', '.attn_output.'],
  ['.attn.q_norm.', '.attn_q_norm.'],
  ['.attn.k_norm.', '.attn_k_norm.'],
  ['.mlp.gate_proj.', '.ffn_gate.'],
  ['.mlp.up_proj.', '.ffn_up.'],
  ['.mlp.down_proj.', '.ffn_down.'],
];

/** The name in a file of the parameter that nn calls `name`. */
export function storedName(layout: Layout, name: string): string {
  const pairs = layout === 'hf' ? HF : layout === 'gguf' ? GGUF : [];
  return pairs.reduce((stored, [from, to]) => stored.replace(from, to), name);
}

const STATISTIC = new RegExp(`\\.attn\\.(${LEARNED_NAMES.join('|')})$`);

/** Of nn's names: the learned inputs of attention, which are kept in f32 beside weights of half precision. */
export function isStatistic(name: string): boolean {
  return STATISTIC.test(name);
}
