import { checkOptions } from '@lazy-attention/core';
import { requireInteger } from './errors.ts';
import { type Batch, IGNORE_INDEX, packRows, windowCount } from './packing.ts';
import type { TokenSplit } from './split.ts';

/** What `validationBatches` takes. */
export interface ValidationOptions {
  /** Tokens per row, at least 2. */
  readonly context: number;
  /** Rows per batch. */
  readonly batch: number;
  /** Use that many windows, evenly spread, instead of all. */
  readonly maxWindows?: number;
  /** Default -100. */
  readonly ignoreIndex?: number;
}

/**
 * The windows of a split from its beginning, without overlap, in order: the same ones every time. Fewer than `context` tokens at the
 * end are left over; the last batch has fewer rows when the windows do not fill it.
 * @throws DataError (DATA_TOO_SHORT) · ValueError for a wrong option; both at once, not at the first batch
 */
export function validationBatches(split: TokenSplit, options: ValidationOptions): Iterable<Batch> {
  const op = 'validationBatches';
  checkOptions(op, options, ['context', 'batch', 'maxWindows', 'ignoreIndex']);
  const { context, batch, maxWindows, ignoreIndex = IGNORE_INDEX } = options;
  requireInteger(op, 'context', context, 2);
  requireInteger(op, 'batch', batch, 1);
  if (maxWindows !== undefined) requireInteger(op, 'maxWindows', maxWindows, 1);
  const windows = windowCount(op, split, context);
  const used = Math.min(windows, maxWindows ?? windows);
  return {
    *[Symbol.iterator]() {
      for (let first = 0; first < used; first += batch) {
        const rows = Array.from(
          { length: Math.min(batch, used - first) },
          (_, i) => Math.floor(((first + i) * windows) / used) * context,
        );
        yield packRows(split, rows, context, ignoreIndex);
      }
    },
  };
}
