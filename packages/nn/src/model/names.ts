/*
 * Names of parameters are those of flash-linear-attention. They are made once per model: a name that is put together on
 * every forward pass has to be hashed and looked up among all strings before it can be looked up in the record.
 */

export interface AttentionNames {
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  /** Of the kind's own parameters, by the names that the kind gives them. */
  readonly own: Readonly<Record<string, string>>;
}

export interface MlpNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export interface LayerNames {
  readonly attentionNorm: string;
  readonly attention: AttentionNames;
  readonly mlpNorm: string;
  readonly mlp: MlpNames;
}

/** Of a layer; `own` are the names of its kind's parameters. */
export function attentionNames(own: readonly string[], prefix = ''): AttentionNames {
  return {
    q: `${prefix}q_proj.weight`,
    k: `${prefix}k_proj.weight`,
    v: `${prefix}v_proj.weight`,
    o: `${prefix}o_proj.weight`,
    own: Object.fromEntries(own.map((name) => [name, `${prefix}${name}`])),
  };
}

/** Of each layer, in order. */
export function layerNames(numLayers: number, own: readonly string[]): readonly LayerNames[] {
  return Array.from({ length: numLayers }, (_, layer) => {
    const prefix = `model.layers.${layer}.`;
    return {
      attentionNorm: `${prefix}attn_norm.weight`,
      attention: attentionNames(own, `${prefix}attn.`),
      mlpNorm: `${prefix}mlp_norm.weight`,
      mlp: {
        gate: `${prefix}mlp.gate_proj.weight`,
        up: `${prefix}mlp.up_proj.weight`,
        down: `${prefix}mlp.down_proj.weight`,
      },
    };
  });
}
