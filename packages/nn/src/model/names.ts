import type { AttentionConfig, LazyTransformerConfig } from './config.ts';

/*
 * Names of parameters are those of flash-linear-attention. They are made once per model: a name that is put together on
 * every forward pass has to be hashed and looked up among all strings before it can be looked up in the record.
 */

export interface AttentionNames {
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  /** Of the biases of the projections that have one. */
  readonly biases: { readonly [projection in 'q' | 'k' | 'v' | 'o']?: string };
  /** Of the norms of q and k, where there are. */
  readonly qkNorm: { readonly q: string; readonly k: string } | null;
  /** Of the kind's own parameters, by the names that the kind gives them. */
  readonly own: Readonly<Record<string, string>>;
}

export interface MlpNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  /** Of the biases, where there are. */
  readonly biases: { readonly [projection in 'gate' | 'up' | 'down']?: string };
}

export interface LayerNames {
  readonly attentionNorm: string;
  readonly attention: AttentionNames;
  readonly mlpNorm: string;
  readonly mlp: MlpNames;
}

type AttentionParts = Pick<AttentionConfig, 'attentionBias' | 'qkNorm'>;
type ModelParts = AttentionParts & Pick<LazyTransformerConfig, 'numLayers' | 'mlpBias'>;

/** Of a layer; `own` are the names of its kind's parameters. */
export function attentionNames(config: AttentionParts, own: readonly string[], prefix = ''): AttentionNames {
  const biased = { qkv: ['q', 'k', 'v'], qkvo: ['q', 'k', 'v', 'o'], none: [] }[config.attentionBias ?? 'none'];
  return {
    q: `${prefix}q_proj.weight`,
    k: `${prefix}k_proj.weight`,
    v: `${prefix}v_proj.weight`,
    o: `${prefix}o_proj.weight`,
    biases: Object.fromEntries(biased.map((name) => [name, `${prefix}${name}_proj.bias`])),
    qkNorm: config.qkNorm ? { q: `${prefix}q_norm.weight`, k: `${prefix}k_norm.weight` } : null,
    own: Object.fromEntries(own.map((name) => [name, `${prefix}${name}`])),
  };
}

/** Of each layer, in order. */
export function layerNames(config: ModelParts, own: readonly string[]): readonly LayerNames[] {
  const biased = config.mlpBias ? ['gate', 'up', 'down'] : [];
  return Array.from({ length: config.numLayers }, (_, layer) => {
    const prefix = `model.layers.${layer}.`;
    return {
      attentionNorm: `${prefix}attn_norm.weight`,
      attention: attentionNames(config, own, `${prefix}attn.`),
      mlpNorm: `${prefix}mlp_norm.weight`,
      mlp: {
        gate: `${prefix}mlp.gate_proj.weight`,
        up: `${prefix}mlp.up_proj.weight`,
        down: `${prefix}mlp.down_proj.weight`,
        biases: Object.fromEntries(biased.map((name) => [name, `${prefix}mlp.${name}_proj.bias`])),
      },
    };
  });
}
