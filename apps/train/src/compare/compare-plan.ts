import type { AttentionKind } from '@lazy-attention/nn';
import type { RunRecord } from '../run/record.ts';

/** compare.json: what is trained, in which order. */
export interface ComparePlan {
  readonly version: number;
  /** All runs are this one but for the kind of attention and the seed. */
  readonly record: RunRecord;
  readonly attentions: readonly AttentionKind[];
  readonly seeds: readonly number[];
}
