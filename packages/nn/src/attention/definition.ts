import type { LearnedInput, Ops, Shape, Tensor } from '@lazy-attention/core';
import type { AttentionConfig } from '../model/config.ts';

/** What a kind is to a comparison: what others are measured against, what is studied, a part of it, or another answer. */
export type AttentionRole = 'reference' | 'subject' | 'ablation' | 'baseline';

/** Marks of charts, as ECharts names them. */
export type AttentionSymbol = 'circle' | 'rect' | 'roundRect' | 'triangle' | 'diamond' | 'pin' | 'arrow';

/** How a kind is called and shown. */
export interface AttentionDescription {
  /** In configs, checkpoints and on the command line: lower-case letters, digits and hyphens, a letter first. */
  readonly name: string;
  /** For people: 'Softmax'. */
  readonly label: string;
  /** What it computes, in one line. */
  readonly description: string;
  /** Its part in a comparison. */
  readonly role: AttentionRole;
  /** Whether `compare` trains it when nobody says which. */
  readonly comparedByDefault: boolean;
  /** CSS colours on a light and on a dark page. */
  readonly color: { readonly light: string; readonly dark: string };
  /** Its mark in charts. */
  readonly symbol: AttentionSymbol;
  /** Whether q and k are rotated, spec §RoPE. */
  readonly rope: boolean;
}

/** What the op `attention` gets besides q, k and v: its learned inputs (LEARNED_INPUTS of core) by name. */
export type FusedInputs = {
  /** A learnable table [H, W], ALiBi's fixed one, or none. */
  readonly bias: 'learned' | 'alibi' | null;
  /** The learnable offset [H] of Elastic-Softmax, or plain softmax. */
  readonly tau: 'learned' | null;
} & {
  /** Of the others [H]: learned, 0 for good (a sink of 0 is softmax-off-by-one), or none, which is the default. */
  readonly [Name in Exclude<LearnedInput, 'bias' | 'tau'>]?: 'learned' | 'zero' | null;
};

/** Options of the op `attention`, spec §Forward. */
export interface FusedAttention extends AttentionDescription {
  /** What the op gets besides q, k and v. */
  readonly fused: FusedInputs;
}

/** A parameter of a kind: its shape, and what it starts from; 'normal' is normal(0, initStd), as Linear weights. */
export interface AttentionParameter {
  /** Of the tensor; Linear weights are [out, in]. */
  readonly shape: Shape;
  /** Initial value. */
  readonly init: 'normal' | number;
}

/** What `attend` of a composed kind works with. Its tensors belong to the layer; do not dispose them. */
export interface AttentionInputs {
  /** [B, L, H, D], rotated if the kind says `rope`. Rows are the last L of the S positions. */
  readonly q: Tensor;
  /** [B, S, Hkv, D], rotated like q; with a cache, the keys of all tokens so far. */
  readonly k: Tensor;
  /** [B, S, Hkv, D] */
  readonly v: Tensor;
  /** [B, L, hiddenSize]: what the layer's projections read. */
  readonly x: Tensor;
  /** The kind's own parameters, under the names that its `params` gives them. */
  readonly params: Readonly<Record<string, Tensor>>;
  /** [B, L] i32: first key that a row attends; undefined: 0. Row r attends starts..offset + r. */
  readonly starts: Tensor | undefined;
  /** S - L: tokens that came before, the absolute position of row 0. */
  readonly offset: number;
  /** S, the keys so far. */
  readonly keyLength: number;
  /** Of the layer. */
  readonly config: AttentionConfig;
  /**
   * Of a tensor [B, L, ...] that the kind's `remembers` names, per token: its values for all S tokens so far, [B, S, ...]. Without
   * a cache that is x itself. In the statistics type.
   */
  remember(name: string, x: Tensor): Tensor;
  /** What `store` kept after the tokens so far, [B, ...], in the statistics type; zeros at first, and without a cache. */
  recall(name: string): Tensor;
  /** Keeps a state that the kind's `remembers` names, per sequence; without a cache it keeps nothing. */
  store(name: string, state: Tensor): void;
}

/** What a composed kind keeps between calls while it decodes. */
export interface Memory {
  /** A value of every token, beside k and v, or one state of the whole sequence. */
  readonly per: 'token' | 'sequence';
  /** Shape of one such value. */
  readonly shape: Shape;
}

/** A function over ops: an attention of one's own. */
export interface ComposedAttention extends AttentionDescription {
  /** Parameters by name, beside q_proj, k_proj, v_proj and o_proj. */
  params(config: AttentionConfig): Readonly<Record<string, AttentionParameter>>;
  /** What is kept between calls while decoding, by name. */
  remembers(config: AttentionConfig): Readonly<Record<string, Memory>>;
  /** The output [B, L, H, D], before the output projection; a new tensor. Launches ops only, so it is synchronous. */
  attend(ops: Ops, inputs: AttentionInputs): Tensor;
}

/** A kind of attention: fused, or composed of ops. */
export type AttentionDefinition = FusedAttention | ComposedAttention;

/** What `defineAttention` takes: name and `attend` (or `fused`), all else as needed. */
export type AttentionSpec = Pick<AttentionDescription, 'name'> &
  Partial<AttentionDescription> &
  (Pick<FusedAttention, 'fused'> | (Pick<ComposedAttention, 'attend'> & Partial<ComposedAttention>));

/** Whether the op `attention` computes it. */
export function isFused(definition: AttentionDefinition): definition is FusedAttention {
  return 'fused' in definition;
}
