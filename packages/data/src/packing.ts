import { DataError } from './errors.ts';
import type { TokenSplit } from './split.ts';
import { firstAbove } from './store-builder.ts';

/** The default of ignoreIndex: the target of a position that has nothing to predict. */
export const IGNORE_INDEX = -100;

/** What a training or evaluation step eats. All arrays are [batch, length], row-major. */
export interface Batch {
  /** [batch, length], row by row. */
  readonly tokens: Int32Array;
  /** The next token of the same document; ignoreIndex at a document's last token. */
  readonly targets: Int32Array;
  /** Position in the row at which the document of this token begins; null when all are 0. */
  readonly starts: Int32Array | null;
  /** Rows. */
  readonly batch: number;
  /** Tokens per row. */
  readonly length: number;
  /** Targets that are not ignoreIndex; at least 1. Of a part of a batch (`SamplerOptions.part`), those of the whole batch. */
  readonly count: number;
}

/**
 * Cuts rows of `length` tokens out of a packed split. `positions` are where the rows begin in the packed stream; a row that reaches the end
 * of the stream goes on at its beginning, as another document. At least 1 target counts, because a row has at least two
 * positions and a document too: of two neighbours, one has a successor.
 */
export function packRows(split: TokenSplit, positions: ArrayLike<number>, length: number, ignoreIndex: number): Batch {
  const batch = positions.length;
  const tokens = new Int32Array(batch * length);
  const targets = new Int32Array(batch * length);
  const starts = new Int32Array(batch * length);
  let ignored = 0;
  let crossed = false;
  for (let row = 0; row < batch; row++) {
    const base = row * length;
    let position = positions[row]!;
    let segment = firstAbove(split.offsets, position) - 1;
    for (let filled = 0; filled < length; ) {
      const left = split.offsets[segment + 1]! - position;
      const count = Math.min(left, length - filled);
      const source = split.segmentStarts[segment]! + (position - split.offsets[segment]!);
      const at = base + filled;
      split.store.read(source, count, tokens, at);
      const ends = count === left;
      split.store.read(source + 1, ends ? count - 1 : count, targets, at);
      if (ends) {
        targets[at + count - 1] = ignoreIndex;
        ignored++;
      }
      if (filled > 0) {
        starts.fill(filled, at, at + count);
        crossed = true;
      }
      filled += count;
      segment = (segment + 1) % split.segments;
      position = split.offsets[segment]!;
    }
  }
  return { tokens, targets, starts: crossed ? starts : null, batch, length, count: batch * length - ignored };
}

/** Targets that count in a row, known from where documents end: nothing is read. @internal */
export function countTargets(split: TokenSplit, from: number, length: number): number {
  let position = from;
  let segment = firstAbove(split.offsets, position) - 1;
  let ignored = 0;
  for (let filled = 0; filled < length; ) {
    const left = split.offsets[segment + 1]! - position;
    const count = Math.min(left, length - filled);
    if (count === left) ignored++;
    filled += count;
    segment = (segment + 1) % split.segments;
    position = split.offsets[segment]!;
  }
  return length - ignored;
}

/** How many whole windows there are. @throws DataError (DATA_TOO_SHORT) if there is none @internal */
export function windowCount(op: string, split: TokenSplit, context: number): number {
  const windows = Math.floor(split.length / context);
  if (windows === 0) {
    throw new DataError(
      'DATA_TOO_SHORT',
      `${op}: ${split.length} tokens are fewer than one window of ${context}; use more text, or the option 'context' of at most ${split.length}`,
    );
  }
  return windows;
}
