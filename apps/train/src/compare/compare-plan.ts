import type { AttentionKind } from '@lazy-attention/nn';
import type { RunRecord } from '../run/record.ts';

/** compare.json: what is trained, in which order. */
export interface ComparePlan {
  /** Of the format. */
  readonly version: number;
  /** All runs are this one but for the kind of attention and the seed. */
  readonly record: RunRecord;
  /** Kinds of attention, in order. */
  readonly attentions: readonly AttentionKind[];
  /** Of weights and data order; every kind sees all of them. */
  readonly seeds: readonly number[];
}
