import { symmetricEigenvalues } from './eigenvalues.ts';

/** Running sums over the token representations at one depth of the model. */
export interface HiddenTally {
  readonly index: number;
  readonly layer: number;
  cosine: number;
  pairs: number;
  count: number;
  /** Sums of x, x^2, x^3, x^4. */
  readonly powers: Float64Array;
  largest: number;
  /** Where the largest activation is: row and channel of x, and its value; then the position of the row's token. */
  peak: { readonly row: number; readonly channel: number; readonly value: number };
  peakPosition: number;
  /** Sums of the norms of all tokens, and of the first tokens of documents. */
  norm: number;
  norms: number;
  firstNorm: number;
  firstNorms: number;
  rank: number;
  rankLimit: number;
  rankedSequences: number;
}

export function hiddenTally(index: number, layer: number): HiddenTally {
  return {
    index,
    layer,
    cosine: 0,
    pairs: 0,
    count: 0,
    powers: new Float64Array(4),
    largest: 0,
    peak: { row: -1, channel: 0, value: 0 },
    peakPosition: 0,
    norm: 0,
    norms: 0,
    firstNorm: 0,
    firstNorms: 0,
    rank: 0,
    rankLimit: 0,
    rankedSequences: 0,
  };
}

/** Adds x [tokens, width]; false when an entry is not finite. */
export function addActivations(tally: HiddenTally, x: ArrayLike<number>, width: number): boolean {
  const { powers } = tally;
  let peakAt = -1;
  for (let i = 0; i < x.length; i++) {
    const value = x[i];
    const square = value * value;
    powers[0] += value;
    powers[1] += square;
    powers[2] += square * value;
    powers[3] += square * square;
    const size = Math.abs(value);
    if (size > tally.largest) {
      tally.largest = size;
      peakAt = i;
    }
  }
  // -1: the peak is in another x, so `addNorms` leaves its position alone.
  tally.peak =
    peakAt < 0
      ? { ...tally.peak, row: -1 }
      : { row: Math.floor(peakAt / width), channel: peakAt % width, value: x[peakAt] };
  tally.count += x.length;
  return Number.isFinite(powers[0]);
}

/**
 * Adds the pairs of tokens of one document, rows `from..to - 1` of x [tokens, width]. The sum over all pairs of unit
 * vectors is |sum of unit vectors|^2 less the pairs of a token with itself, so no pair is looked at by itself.
 */
export function addCosines(tally: HiddenTally, x: ArrayLike<number>, width: number, from: number, to: number): void {
  const sum = new Float64Array(width);
  let tokens = 0;
  for (let row = from; row < to; row++) {
    const norm = rowNorm(x, width, row);
    if (norm === 0) continue;
    tokens++;
    for (let c = 0; c < width; c++) sum[c] += x[row * width + c] / norm;
  }
  let square = 0;
  for (let c = 0; c < width; c++) square += sum[c] * sum[c];
  tally.cosine += square - tokens;
  tally.pairs += tokens * (tokens - 1);
}

/** Adds the norms of the tokens of one document, rows `from..to - 1` of x; after `addActivations` of the same x. */
export function addNorms(tally: HiddenTally, x: ArrayLike<number>, width: number, from: number, to: number): void {
  const { row } = tally.peak;
  if (row >= from && row < to) tally.peakPosition = row - from;
  for (let at = from; at < to; at++) tally.norm += rowNorm(x, width, at);
  tally.norms += to - from;
  tally.firstNorm += rowNorm(x, width, from);
  tally.firstNorms++;
}

/** Adds the effective rank of rows `from..to - 1` of x, from at most `tokens` of them, evenly spaced. */
export function addEffectiveRank(
  tally: HiddenTally,
  x: ArrayLike<number>,
  width: number,
  from: number,
  to: number,
  tokens: number,
): void {
  const rows: Float64Array[] = [];
  const taken = Math.min(tokens, to - from);
  for (let n = 0; n < taken; n++) {
    const row = from + Math.floor((n * (to - from)) / taken);
    const norm = rowNorm(x, width, row);
    if (norm === 0) continue;
    rows.push(Float64Array.from({ length: width }, (_, c) => x[row * width + c] / norm));
  }
  if (rows.length === 0) return;
  tally.rank += effectiveRank(rows);
  tally.rankLimit += Math.min(rows.length, width);
  tally.rankedSequences++;
}

/**
 * exp of the entropy of the singular values divided by their sum (Roy and Vetterli, "The effective rank", 2007), of
 * the matrix with these rows. From 1 (all rows parallel) to the smaller of its two sizes.
 */
export function effectiveRank(rows: readonly Float64Array[]): number {
  const n = rows.length;
  const width = rows[0].length;
  // The Gram matrix of the smaller side has the squares of the singular values as eigenvalues.
  const gram = n <= width ? gramOfRows(rows) : gramOfColumns(rows);
  const singular = symmetricEigenvalues(gram, Math.min(n, width)).map((value) => Math.sqrt(Math.max(0, value)));
  const total = singular.reduce((sum, value) => sum + value, 0);
  let entropy = 0;
  for (const value of singular) if (value > 0) entropy -= (value / total) * Math.log(value / total);
  return total === 0 ? 0 : Math.exp(entropy);
}

/** Lower triangles of the products of all pairs of rows, and of columns. */
function gramOfRows(rows: readonly Float64Array[]): Float64Array {
  const n = rows.length;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let c = 0; c < rows[i].length; c++) sum += rows[i][c] * rows[j][c];
      gram[i * n + j] = sum;
    }
  }
  return gram;
}

function gramOfColumns(rows: readonly Float64Array[]): Float64Array {
  const width = rows[0].length;
  const gram = new Float64Array(width * width);
  for (const row of rows) {
    for (let i = 0; i < width; i++) {
      const value = row[i];
      for (let j = 0; j <= i; j++) gram[i * width + j] += value * row[j];
    }
  }
  return gram;
}

function rowNorm(x: ArrayLike<number>, width: number, row: number): number {
  let square = 0;
  for (let at = row * width; at < (row + 1) * width; at++) square += x[at] * x[at];
  return Math.sqrt(square);
}
