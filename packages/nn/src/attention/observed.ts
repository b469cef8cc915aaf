import type { Ops, Tensor } from '@lazy-attention/core';

/** Weights of a composed kind, for whoever looks at them: as tensors, and as a function of these. */
export interface ObservedWeights {
  /** [B, L, H, D] */
  readonly q: Tensor;
  /** [B, S, Hkv, D] */
  readonly k: Tensor;
  /** [B, S, Hkv, D] */
  readonly v: Tensor;
  /** [B, L] i32, as in `AttentionInputs`. */
  readonly starts: Tensor | undefined;
  /** What else the weights depend on. */
  readonly more: readonly Tensor[];
  /** w [B, H, last - first, S'] of the rows first..last-1 against the S' keys up to the last of them, of tensors as above. */
  weights(ops: Ops, of: Pick<ObservedWeights, 'q' | 'k' | 'starts' | 'more'>, first: number, last: number): Tensor;
}

/** Ops that want to see weights: what `observe` of @lazy-attention/analysis makes. Others have no such member. */
export interface WatchingOps extends Ops {
  /** Called for every layer of a composed kind that has weights. */
  readonly onWeights?: (observed: ObservedWeights) => void;
}
