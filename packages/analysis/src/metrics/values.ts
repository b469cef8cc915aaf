/** Running sums of the norms of one head's values, by position in their document. */
export interface ValueTally {
  /** Sum of the norms at each position, and how many there are; both grow as positions come. */
  norms: Float64Array;
  counts: Float64Array;
}

/** A tally of nothing. */
export function valueTally(): ValueTally {
  return { norms: new Float64Array(0), counts: new Float64Array(0) };
}

/** Adds the vector v[base .. base + width - 1] of a token at a position of its document. */
export function addValueNorms(
  tally: ValueTally,
  v: ArrayLike<number>,
  base: number,
  width: number,
  position: number,
): void {
  let square = 0;
  for (let at = base; at < base + width; at++) square += v[at] * v[at];
  tally.norms = grown(tally.norms, position + 1);
  tally.counts = grown(tally.counts, position + 1);
  tally.norms[position] += Math.sqrt(square);
  tally.counts[position]++;
}

/** Mean norm of the values at a position over the mean norm of all (docs/metrics.md); null when all are 0 or none is there. */
export function valueNormRatio({ norms, counts }: ValueTally, position: number): number | null {
  const total = norms.reduce((sum, norm) => sum + norm, 0);
  if (!(total > 0) || !(counts[position] > 0)) return null;
  const mean = total / counts.reduce((sum, count) => sum + count, 0);
  return norms[position] / counts[position] / mean;
}

/** The array, or one at least as long with its entries, doubled so that growing by one each time stays cheap. */
export function grown(array: Float64Array, length: number): Float64Array {
  if (array.length >= length) return array;
  const longer = new Float64Array(Math.max(length, 2 * array.length));
  longer.set(array);
  return longer;
}
