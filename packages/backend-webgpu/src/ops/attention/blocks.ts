import type { AttentionSizes } from '@lazy-attention/core';
import { GROUP } from '../../wgsl/attention-strip.ts';

/** Workspace for scores. Fits the L2 of a desktop GPU or the last level of a CPU, and fills either with work. */
export const STRIP_BYTES = 16 * 2 ** 20;

/** Rows of heads whose scores are in the workspace at a time. */
export interface StripBlock {
  /** Of [B, H]. */
  readonly firstHead: number;
  readonly headCount: number;
  /** Query heads of the block per kv head: all of them if the block has several kv heads. */
  readonly groupHeads: number;
  readonly blockRow: number;
  readonly rowCount: number;
  /** Keys per row of the strip: to the last attended one, up to a multiple of 64 or of 4 past all keys. */
  readonly width: number;
  /** Whether no earlier block adds to the same rows of dk and dv. */
  readonly firstOfKeys: boolean;
}

const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;

/** Most workgroups per dimension that every adapter allows. */
const MAX_HEADS = 65535;

/**
 * Cuts a problem into blocks of at most `budget` scores, or of 64 rows of one head where those are more. Whole kv heads
 * where they fit, then row blocks of one kv head, then of some of its query heads. Blocks that add to the same rows of
 * dk and dv follow each other.
 */
export function stripBlocks(sizes: AttentionSizes, budget: number): StripBlock[] {
  const { batch, heads, kvHeads, queryLength, keyLength } = sizes;
  const groupSize = heads / kvHeads;
  const keys = roundUp(keyLength, 4);
  const kvHeadsAtOnce = Math.floor(Math.min(budget / (queryLength * keys), MAX_HEADS) / groupSize);
  let headCount = Math.min(kvHeadsAtOnce * groupSize, batch * heads);
  let rows = queryLength;
  if (headCount === 0) {
    headCount = groupSize;
    while (headCount > 1 && (groupSize % headCount !== 0 || headCount * GROUP * keys > budget)) headCount--;
    rows = Math.max(GROUP, Math.floor(budget / (headCount * keys) / GROUP) * GROUP);
  }
  const blocks: StripBlock[] = [];
  for (let firstHead = 0; firstHead < batch * heads; firstHead += headCount) {
    const count = Math.min(headCount, batch * heads - firstHead);
    for (let blockRow = 0; blockRow < queryLength; blockRow += rows) {
      const rowCount = Math.min(rows, queryLength - blockRow);
      blocks.push({
        firstHead,
        headCount: count,
        groupHeads: Math.min(count, groupSize),
        blockRow,
        rowCount,
        width: Math.min(keys, roundUp(blockRow + rowCount + keyLength - queryLength, GROUP)),
        firstOfKeys: blockRow === 0 && firstHead % groupSize === 0,
      });
    }
  }
  return blocks;
}
