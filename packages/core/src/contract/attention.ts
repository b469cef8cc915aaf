import type { KernelTensor } from './tensor.ts';

/** Sizes of an attention problem in the letters of spec §Shapes and symbols. */
export interface AttentionSizes {
  /** B */
  readonly batch: number;
  /** L */
  readonly queryLength: number;
  /** S: keys in use. Query row r has absolute position r + S - L. */
  readonly keyLength: number;
  /** Rows that k and v have room for, S or more: k is [B, keyCapacity, Hkv, D]. More only when nothing is saved. */
  readonly keyCapacity: number;
  /** H */
  readonly heads: number;
  /** Hkv, divides H; query head h reads key/value head floor(h / (H / Hkv)). */
  readonly kvHeads: number;
  /** D: a multiple of 4, at most 256 */
  readonly headDim: number;
  /** W: width of the bias table, 0 without bias. May exceed S. */
  readonly window: number;
}

/** Operands of spec §Forward. */
export interface AttentionInputs<B extends object = object> {
  /** Sizes of the problem. */
  readonly sizes: AttentionSizes;
  /** Factor on q . k. */
  readonly scale: number;
  /** [B, L, H, D] */
  readonly q: KernelTensor<B>;
  /** [B, keyCapacity, Hkv, D] */
  readonly k: KernelTensor<B>;
  /** [B, keyCapacity, Hkv, D] */
  readonly v: KernelTensor<B>;
  /** [H, W] in the statistics type */
  readonly bias: KernelTensor<B> | null;
  /** [H] in the statistics type; null is plain softmax */
  readonly tau: KernelTensor<B> | null;
  /** [H] in the statistics type: logit of a key whose value is zero, spec §Sink logit; null is none */
  readonly sink: KernelTensor<B> | null;
  /** [B, L] i32, 0 <= starts[b, r] <= r + S - L, not decreasing along r */
  readonly starts: KernelTensor<B> | null;
}

/** Operands of Elastic-Softmax on given scores. */
export interface ElasticSoftmaxInputs<B extends object = object> {
  /** [B, H, L, S]; row r attends keys starts..r + S - L */
  readonly scores: KernelTensor<B>;
  /** [H] in the statistics type; null is plain softmax */
  readonly tau: KernelTensor<B> | null;
  /** [B, L] i32, as in `AttentionInputs` */
  readonly starts: KernelTensor<B> | null;
}
