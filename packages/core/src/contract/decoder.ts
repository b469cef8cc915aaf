import type { Learned } from './attention.ts';
import type { KernelTensor } from './tensor.ts';

/**
 * Fused decoding: several tokens in one launch, and a decoder layer in one. Worth having where launching is not cheap, or
 * reading logits is a wait. Without it callers compose the same of other ops.
 */
export interface DecoderKernels<B extends object = object> {
  /** `Decoder.layer`, in place on x and on the cache. Optional: for a layer on its own, where logits are wanted. */
  layer?(problem: DecoderLayerInputs<B>): void;
  /**
   * `Decoder.decode`: i32 [steps, B]. Where a logit is NaN it returns -1 - id of the first such, and draws anything for that
   * row from then on. Draws with the given `uniforms` as core's `sampleToken` does; with temperature 0 they are empty.
   */
  decode(problem: DecodeInputs<B>): B;
}

/** Sizes of a decoder layer; letters are those of spec §Shapes and symbols, C and I the widths of the model and its MLP. */
export interface DecoderLayerSizes {
  /** B */
  readonly batch: number;
  /** L: new tokens */
  readonly length: number;
  /** C */
  readonly width: number;
  /** Rows that the cache has room for. */
  readonly capacity: number;
  /** H */
  readonly heads: number;
  /** Hkv */
  readonly kvHeads: number;
  /** D */
  readonly headDim: number;
  /** I */
  readonly inner: number;
  /** W of the bias, 0 without. */
  readonly window: number;
}

/** What a decoder layer has of its own, attention's learned inputs among it. Linear weights are [out, in]. */
export interface DecoderLayerOperands<B extends object = object> extends Learned<KernelTensor<B> | null> {
  /** [B, capacity, Hkv, D], rows from `position` on are written */
  readonly keys: KernelTensor<B>;
  /** As `keys`. */
  readonly values: KernelTensor<B>;
  /** [C] */
  readonly attentionNorm: KernelTensor<B>;
  /** [H D, C] */
  readonly q: KernelTensor<B>;
  /** [Hkv D, C] */
  readonly k: KernelTensor<B>;
  /** [Hkv D, C] */
  readonly v: KernelTensor<B>;
  /** [C, H D] */
  readonly o: KernelTensor<B>;
  /** [C] */
  readonly mlpNorm: KernelTensor<B>;
  /** [I, C] */
  readonly gate: KernelTensor<B>;
  /** [I, C] */
  readonly up: KernelTensor<B>;
  /** [C, I] */
  readonly down: KernelTensor<B>;
}

/** What a layer and decoding have in common. */
export interface DecoderProblem {
  /** Of every layer. */
  readonly sizes: DecoderLayerSizes;
  /** Tokens in the cache so far. */
  readonly position: number;
  /** Null: nothing is rotated. */
  readonly ropeBase: number | null;
  /** Of all norms. */
  readonly epsilon: number;
}

/** One layer on new tokens. */
export interface DecoderLayerInputs<B extends object = object> extends DecoderLayerOperands<B>, DecoderProblem {
  /** [B, L, C], in place */
  readonly x: KernelTensor<B>;
  /** [B, L] i32, as in `AttentionInputs` with S = position + L */
  readonly starts: KernelTensor<B> | null;
}

/** Several tokens, each drawn from the one before. */
export interface DecodeInputs<B extends object = object> extends DecoderProblem {
  /** Tokens to draw per row. */
  readonly steps: number;
  /** V */
  readonly vocabulary: number;
  /** [B] i32 */
  readonly tokens: KernelTensor<B>;
  /** [steps, B] i32 */
  readonly starts: KernelTensor<B> | null;
  /** [V, C] */
  readonly embeddings: KernelTensor<B>;
  /** In order; of equal sizes. */
  readonly layers: readonly DecoderLayerOperands<B>[];
  /** [C] */
  readonly norm: KernelTensor<B>;
  /** [V, C] */
  readonly head: KernelTensor<B>;
  /** As in `SampleOptions`; 0 takes the largest. */
  readonly temperature: number;
  /** At most `vocabulary`. */
  readonly topK: number;
  /** In (0, 1]. */
  readonly topP: number;
  /** [steps, B] numbers in [0, 1); the kernel's own. */
  readonly uniforms: Float64Array;
}
