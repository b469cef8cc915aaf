import { checkOptions, ValueError } from '@lazy-attention/core';
import { DataError, requireInteger } from './errors.ts';
import { type Batch, countTargets, IGNORE_INDEX, packRows, windowCount } from './packing.ts';
import { randomStream, shuffledOrder } from './random.ts';
import { describe, jsonObject, parseAs } from './schema.ts';
import type { TokenSplit } from './split.ts';

/** All of a sampler's state, as JSON. */
export interface SamplerState {
  /** Of this layout. */
  readonly version: 1;
  /** Of the split: its data and tokeniser. */
  readonly fingerprint: string;
  /** As in `SamplerOptions`. */
  readonly context: number;
  /** As in `SamplerOptions`. */
  readonly seed: number;
  /** Passes over the data that are complete. */
  readonly epoch: number;
  /** Windows of this pass that have been given out. */
  readonly position: number;
}

/** What `createSampler` takes. */
export interface SamplerOptions {
  /** Tokens per row, at least 2. */
  readonly context: number;
  /** Rows per batch. */
  readonly batch: number;
  /** Any integer from 0 to 2^53 - 1. */
  readonly seed: number;
  /** Go on where this state was taken. */
  readonly state?: SamplerState;
  /** Default -100. */
  readonly ignoreIndex?: number;
  /** Give part `index` of `of` equal parts of every batch, and read no more: for processes that train together. Default: all of it. */
  readonly part?: { readonly index: number; readonly of: number };
}

/** Training batches without end. */
export interface Sampler {
  /** The next batch; there is always one. A batch may hold the last windows of one epoch and the first of the next. */
  next(): Batch;
  /** The state before the next batch. */
  state(): SamplerState;
  /** Windows per epoch. */
  readonly windows: number;
}

/**
 * Training batches in an order that depends on (split, context, seed) alone, not on the batch size. In every epoch each
 * window of `context` tokens comes once, in random order; from the second epoch on, windows are cut at another offset, but
 * for splits whose segments are rows of that length.
 * @throws DataError (DATA_TOO_SHORT, SAMPLER_STATE) · ValueError for a wrong option
 */
export function createSampler(split: TokenSplit, options: SamplerOptions): Sampler {
  const op = 'createSampler';
  checkOptions(op, options, ['context', 'batch', 'seed', 'state', 'ignoreIndex', 'part']);
  const { context, batch, seed, ignoreIndex = IGNORE_INDEX, part = { index: 0, of: 1 } } = options;
  requireInteger(op, 'context', context, 2);
  requireInteger(op, 'batch', batch, 1);
  requireInteger(op, 'seed', seed, 0);
  requireInteger(op, 'part.of', part.of, 1);
  requireInteger(op, 'part.index', part.index, 0, part.of - 1);
  if (batch % part.of !== 0) {
    throw new ValueError(`${op}: batch is ${batch}; expected a multiple of part.of, ${part.of}`);
  }
  const windows = windowCount(op, split, context);
  const { fingerprint } = split;
  const start = options.state;
  if (start !== undefined) checkState(start, { version: 1, fingerprint, context, seed }, windows);
  let { epoch, position } = start ?? { epoch: 0, position: 0 };
  const whole = split.rowLength === context;
  let plan = planEpoch(split.length, windows, seed, epoch, whole);

  return {
    windows,
    next() {
      const rows: number[] = [];
      while (rows.length < batch) {
        if (position === windows) {
          epoch++;
          position = 0;
          plan = planEpoch(split.length, windows, seed, epoch, whole);
        }
        rows.push((plan.offset + plan.order[position++]! * context) % split.length);
      }
      if (part.of === 1) return packRows(split, rows, context, ignoreIndex);
      const share = batch / part.of;
      const own = rows.slice(part.index * share, (part.index + 1) * share);
      const count = rows.reduce((sum, row) => sum + countTargets(split, row, context), 0);
      return { ...packRows(split, own, context, ignoreIndex), count };
    },
    state: () => ({ version: 1, fingerprint, context, seed, epoch, position }),
  };
}

function planEpoch(
  length: number,
  windows: number,
  seed: number,
  epoch: number,
  whole: boolean,
): { offset: number; order: Uint32Array } {
  const random = randomStream(seed, epoch);
  const offset = epoch === 0 || whole ? 0 : Math.floor(random() * length);
  return { offset, order: shuffledOrder(windows, random) };
}

function checkState(
  state: SamplerState,
  expected: Pick<SamplerState, 'version' | 'fingerprint' | 'context' | 'seed'>,
  windows: number,
): void {
  parseAs(jsonObject, state, 'SAMPLER_STATE', 'createSampler: state');
  for (const key of ['version', 'fingerprint', 'context', 'seed'] as const) {
    if (state[key] !== expected[key]) {
      const fix = key === 'fingerprint' ? '; the data or the tokeniser has changed' : '';
      throw new DataError(
        'SAMPLER_STATE',
        `createSampler: state has ${key} ${describe(state[key])}; expected ${expected[key]}${fix}`,
      );
    }
  }
  const { epoch, position } = state;
  if (
    !Number.isSafeInteger(epoch) ||
    epoch < 0 ||
    !Number.isSafeInteger(position) ||
    position < 0 ||
    position > windows
  ) {
    throw new DataError(
      'SAMPLER_STATE',
      `createSampler: state has epoch ${describe(epoch)}, position ${describe(position)}; expected a position from 0 to ${windows}`,
    );
  }
}
