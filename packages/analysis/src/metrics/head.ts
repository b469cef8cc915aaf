import type { TileTally } from './tiles.ts';
import { grown } from './values.ts';

/** Running sums over the rows of one head. Means are taken at the end, so rows can come in any number of pieces. */
export interface HeadTally {
  rows: number;
  pairs: number;
  zeros: number;
  mass: number;
  /** Rows whose sum is above 0: only those can be divided by it. */
  massRows: number;
  entropy: number;
  /** Rows with a sum above 0 and two keys or more, where entropy has a maximum to be compared with. */
  entropyRows: number;
  entropyNormalised: number;
  /** Sum over rows of the weight on position k of their document, and the number of rows that reach it. */
  readonly position: Float64Array;
  readonly positionRows: Float64Array;
  readonly positionNormalised: Float64Array;
  readonly positionNormalisedRows: Float64Array;
  /** Sum over rows of the weight on each position of their document; rows of n keys are counted at n - 1. */
  columns: Float64Array;
  lengths: Float64Array;
  /** Sum over rows of the softmax weights of the keys that have a weight above 0. */
  surviving: number;
  readonly tiles: readonly TileTally[];
}

export function headTally(positions: number, tiles: readonly number[]): HeadTally {
  return {
    rows: 0,
    pairs: 0,
    zeros: 0,
    mass: 0,
    massRows: 0,
    entropy: 0,
    entropyRows: 0,
    entropyNormalised: 0,
    position: new Float64Array(positions),
    positionRows: new Float64Array(positions),
    positionNormalised: new Float64Array(positions),
    positionNormalisedRows: new Float64Array(positions),
    columns: new Float64Array(0),
    lengths: new Float64Array(0),
    surviving: 0,
    tiles: tiles.map((size) => ({ size, tiles: 0, inactive: 0 })),
  };
}

/**
 * Adds the row that attends keys `start..i`, with weight weights[base + j] on key j (docs/metrics.md). `tau` is the
 * head's offset, 0 without. Returns the row's sum, which is NaN or infinite when a weight is.
 */
export function addRow(
  tally: HeadTally,
  weights: ArrayLike<number>,
  base: number,
  start: number,
  i: number,
  tau: number,
): number {
  const keys = i - start + 1;
  const columns = grown(tally.columns, keys);
  tally.columns = columns;
  tally.lengths = grown(tally.lengths, keys);
  tally.lengths[keys - 1]++;
  let zeros = 0;
  let mass = 0;
  let weightLogWeight = 0;
  for (let k = 0; k < keys; k++) {
    const w = weights[base + start + k];
    columns[k] += w;
    if (w === 0) {
      zeros++;
    } else {
      mass += w;
      weightLogWeight += w * Math.log(w);
    }
  }
  tally.rows++;
  tally.pairs += keys;
  tally.zeros += zeros;
  tally.mass += mass;
  // w = p + tau / n where it is above 0 (spec §Forward), so p = w - tau / n.
  tally.surviving += mass - ((keys - zeros) * tau) / keys;
  const followed = Math.min(keys, tally.position.length);
  for (let k = 0; k < followed; k++) {
    tally.position[k] += weights[base + start + k];
    tally.positionRows[k]++;
  }
  if (mass > 0) {
    // H of w / mass = log(mass) - sum w log(w) / mass; rounding may take it a hair below 0.
    const entropy = Math.max(0, Math.log(mass) - weightLogWeight / mass);
    tally.massRows++;
    tally.entropy += entropy;
    if (keys > 1) {
      tally.entropyRows++;
      tally.entropyNormalised += entropy / Math.log(keys);
    }
    for (let k = 0; k < followed; k++) {
      tally.positionNormalised[k] += weights[base + start + k] / mass;
      tally.positionNormalisedRows[k]++;
    }
  }
  return mass;
}

/**
 * The position of a document with the largest mean weight, and that weight: of the positions that at least half of the rows
 * reach, since the weight on later ones is that of a few rows.
 */
export function strongestPosition({ columns, lengths, rows }: HeadTally): { position: number; weight: number } {
  let strongest = { position: 0, weight: 0 };
  let reach = rows;
  for (let k = 0; 2 * reach >= rows && reach > 0; k++) {
    const weight = columns[k] / reach;
    if (weight > strongest.weight) strongest = { position: k, weight };
    reach -= lengths[k] ?? 0;
  }
  return strongest;
}
