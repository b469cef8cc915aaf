import type { Tensor } from '../lifetimes/tensor.ts';
import type { LearnedOptions } from '../ops/attention.ts';
import type { SampleOptions } from '../sample.ts';

/**
 * Fused decoding, which a backend may offer (`backend.decoder`): ops that are others in one launch. For decoding, where
 * launching a dozen ops takes as long as they do. Callers compose the same of other ops where it is not there.
 */
export interface Decoder {
  /**
   * A whole decoder layer on new tokens, in place on x [B, L, C] and on the cache: with a = attention over the cache,
   *   x += o(a(rope(q(norm(x))), rope(k(norm(x))), v(norm(x)))),   x += down(swiglu(gate(norm(x)), up(norm(x)))).
   * Not there where a backend fuses whole tokens only.
   */
  readonly layer?: (x: Tensor, weights: DecoderLayerWeights, options: DecoderLayerOptions) => void;
  /**
   * Draws `steps` tokens per row [steps, B], each from the one before, the first from `tokens` [B] i32: embed, `layer` for
   * every layer, norm, logits, `sampleToken`. Keys and values are left in the cache. One launch and one wait for all of
   * them, so that the host is not between two tokens.
   * @throws ValueError (rejects) for a logit that is NaN
   */
  decode(tokens: Tensor, decoder: DecoderWeights, options: DecodeOptions): Promise<Int32Array>;
}

/** All of x's type, or, of the matrices and beside f32, packed; Linear weights are [out, in]. I is the width of the MLP. */
export interface DecoderLayerWeights {
  /** [C] */
  readonly attentionNorm: Tensor;
  /** [H D, C] */
  readonly q: Tensor;
  /** [Hkv D, C] */
  readonly k: Tensor;
  /** [Hkv D, C] */
  readonly v: Tensor;
  /** [C, H D] */
  readonly o: Tensor;
  /** [C] */
  readonly mlpNorm: Tensor;
  /** [I, C] */
  readonly gate: Tensor;
  /** [I, C] */
  readonly up: Tensor;
  /** [C, I] */
  readonly down: Tensor;
}

/** The cache, what attention takes, and where the tokens stand. */
export interface DecoderLayerOptions extends LearnedOptions {
  /** [B, capacity, Hkv, D]: what was rotated and kept of earlier tokens; that of x is written from row `position` on. */
  readonly keys: Tensor;
  /** As `keys`. */
  readonly values: Tensor;
  /** Tokens in the cache so far, the absolute position of x's first row. */
  readonly position: number;
  /** As in `AttentionOptions`. */
  readonly starts?: Tensor | undefined;
  /** Null: nothing is rotated. */
  readonly ropeBase: number | null;
  /** Of both norms. */
  readonly epsilon: number;
}

/** All of one type, or, of the matrices and beside f32, packed. V is the vocabulary. */
export interface DecoderWeights {
  /** [V, C] */
  readonly embeddings: Tensor;
  /** Of equal sizes. */
  readonly layers: readonly DecoderLayerState[];
  /** [C] */
  readonly norm: Tensor;
  /** [V, C]; may be `embeddings`. */
  readonly head: Tensor;
}

/** A layer and its cache; as in `DecoderLayerOptions`. */
export interface DecoderLayerState extends LearnedOptions {
  /** The layer's own. */
  readonly weights: DecoderLayerWeights;
  /** [B, capacity, Hkv, D] */
  readonly keys: Tensor;
  /** As `keys`. */
  readonly values: Tensor;
}

/** How to draw, and where the tokens stand. */
export interface DecodeOptions extends SampleOptions {
  /** Tokens to draw per row. */
  readonly steps: number;
  /** Tokens in the cache so far; it has room for `steps` more. */
  readonly position: number;
  /** [steps, B] i32: first key that a step attends. Default 0. */
  readonly starts?: Tensor | undefined;
  /** Null: nothing is rotated. */
  readonly ropeBase: number | null;
  /** Of all norms. */
  readonly epsilon: number;
  /** [steps, B] numbers in [0, 1), one per token drawn. Not looked at where temperature is 0. */
  readonly uniforms?: Float64Array | undefined;
}
