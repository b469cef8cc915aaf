import type { TileTally } from './tiles.ts';

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
    tiles: tiles.map((size) => ({ size, tiles: 0, inactive: 0 })),
  };
}

/**
 * Adds the row that attends keys `start..i`, with weight weights[base + j] on key j (docs/metrics.md).
 * Returns the row's sum, which is NaN or infinite when a weight is.
 */
export function addRow(tally: HeadTally, weights: ArrayLike<number>, base: number, start: number, i: number): number {
  let zeros = 0;
  let mass = 0;
  let weightLogWeight = 0;
  for (let at = base + start; at <= base + i; at++) {
    const w = weights[at];
    if (w === 0) {
      zeros++;
    } else {
      mass += w;
      weightLogWeight += w * Math.log(w);
    }
  }
  const keys = i - start + 1;
  tally.rows++;
  tally.pairs += keys;
  tally.zeros += zeros;
  tally.mass += mass;
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
