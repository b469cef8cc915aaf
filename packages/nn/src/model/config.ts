/** Name of a kind of attention: one of `ATTENTION_KINDS`, or one that `defineAttention` has added. */
export type AttentionKind = string;

/** What the attention of one layer needs to know. */
export interface AttentionConfig {
  readonly hiddenSize: number;
  readonly numHeads: number;
  /** Divides numHeads; query head h reads key/value head floor(h / (numHeads / numKvHeads)). */
  readonly numKvHeads: number;
  /** A multiple of 4, at most 256. */
  readonly headDim: number;
  readonly attention: AttentionKind;
  /** Width W of the learnable bias; larger distances get none. */
  readonly window: number;
  readonly ropeBase: number;
}

export interface LazyTransformerConfig extends AttentionConfig {
  readonly vocabSize: number;
  readonly numLayers: number;
  /** Tokens per row in training; generation slides over this many. */
  readonly context: number;
  readonly intermediateSize: number;
  readonly tieEmbeddings: boolean;
  readonly normEpsilon: number;
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

export type AttentionOptionsInput = Optional<AttentionConfig, AttentionRequired>;
export type LazyTransformerOptions = Optional<LazyTransformerConfig, ModelRequired>;
