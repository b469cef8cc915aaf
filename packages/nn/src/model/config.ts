/** Name of a kind of attention: one of `ATTENTION_KINDS`, or one that `defineAttention` has added. */
export type AttentionKind = string;

/**
 * Rotary frequencies for contexts longer than a model was first trained on; docs/spec.md §RoPE scaling has the formulas, which
 * are those of Hugging Face's `rope_scaling`.
 */
export type RopeScaling =
  /** Every frequency divided by `factor`. */
  | {
      /** Which formula. */
      readonly type: 'linear';
      /** s of the formula: how much longer contexts may be. */
      readonly factor: number;
    }
  /** The base grows with the number of keys, once it exceeds `originalContext`. */
  | {
      /** Which formula. */
      readonly type: 'dynamic';
      /** s of the formula: how much longer contexts may be. */
      readonly factor: number;
      /** N of the formula: tokens that the model was first trained on. */
      readonly originalContext: number;
    }
  /** Long wavelengths divided by `factor`, short ones kept, those between interpolated. */
  | {
      /** Which formula. */
      readonly type: 'llama3';
      /** s of the formula: how much longer contexts may be. */
      readonly factor: number;
      /** Wavelengths longer than originalContext / lowFrequencyFactor are long. */
      readonly lowFrequencyFactor: number;
      /** Wavelengths shorter than originalContext / highFrequencyFactor are short. */
      readonly highFrequencyFactor: number;
      /** N of the formula: tokens that the model was first trained on. */
      readonly originalContext: number;
    }
  /** As llama3 with a linear ramp over the dimensions; q and k are multiplied by `attentionFactor` too. */
  | {
      /** Which formula. */
      readonly type: 'yarn';
      /** s of the formula: how much longer contexts may be. */
      readonly factor: number;
      /** N of the formula: tokens that the model was first trained on. */
      readonly originalContext: number;
      /** Rotations over originalContext from which on a dimension is kept. Default 32. */
      readonly betaFast?: number;
      /** Rotations over originalContext below which a dimension is divided. Default 1. */
      readonly betaSlow?: number;
      /** Default 0.1 log(factor) + 1. */
      readonly attentionFactor?: number;
      /** Whether the ends of the ramp are whole dimensions. Default true. */
      readonly truncate?: boolean;
    };

/** What the attention of one layer needs to know. */
export interface AttentionConfig {
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Divides numHeads; query head h reads key/value head floor(h / (numHeads / numKvHeads)). */
  readonly numKvHeads: number;
  /** A multiple of 4, at most 256. */
  readonly headDim: number;
  /** The kind. */
  readonly attention: AttentionKind;
  /** Width W of the learnable bias; larger distances get none. */
  readonly window: number;
  /** Base of the rotary frequencies, spec §RoPE. */
  readonly ropeBase: number;
  /** Changes to the rotary frequencies, or null. */
  readonly ropeScaling: RopeScaling | null;
  /** Which projections add a bias: those of q, k and v (Qwen2), of o too (Llama's `attention_bias`), or none. */
  readonly attentionBias: 'qkv' | 'qkvo' | null;
  /** RMSNorm of q and k over headDim before they are rotated, with weights `q_norm.weight` and `k_norm.weight` (Qwen3). */
  readonly qkNorm: boolean;
  /** A row attends this many keys at most, itself included; null: all. */
  readonly slidingWindow: number | null;
  /** Added to the mean square in every RMSNorm. */
  readonly normEpsilon: number;
}

/** What a model is. */
export interface LazyTransformerConfig extends AttentionConfig {
  /** Rows of the embedding. */
  readonly vocabSize: number;
  /** Layers, each of attention and MLP. */
  readonly numLayers: number;
  /** Tokens per row in training; generation slides over this many. */
  readonly context: number;
  /** Width I of the MLP. */
  readonly intermediateSize: number;
  /** Whether gate, up and down add a bias. */
  readonly mlpBias: boolean;
  /** Layers, from 0, that rotate nothing though the kind does (SmolLM3). */
  readonly noRopeLayers: readonly number[];
  /** Layers, from 0, that attend all keys though there is a `slidingWindow` (Qwen2, gpt-oss). */
  readonly fullAttentionLayers: readonly number[];
  /** Whether the embedding is the head too. */
  readonly tieEmbeddings: boolean;
  /** Standard deviation of the initial weights. */
  readonly initStd: number;
  /** Type of the forward pass; null is that of the parameters. */
  readonly computeDType: 'bf16' | 'f16' | null;
}

type AttentionRequired = 'hiddenSize' | 'numHeads';
type ModelRequired = AttentionRequired | 'vocabSize' | 'numLayers' | 'context';
type Optional<T, Required extends keyof T> = Pick<T, Required> & {
  readonly [K in Exclude<keyof T, Required>]?: T[K] | undefined;
};

/** `AttentionConfig` with defaults left out. */
export type AttentionOptionsInput = Optional<AttentionConfig, AttentionRequired>;
/** `LazyTransformerConfig` with defaults left out. */
export type LazyTransformerOptions = Optional<LazyTransformerConfig, ModelRequired>;
