import type { Corpus } from '../corpus.ts';

const SYMBOLS = 'abcdefghijklmnopqrstuvwxyz';

/** How often each symbol follows each other one in a text, as running sums that a uniform number is looked up in. */
export interface BigramTable {
  /** The symbols as bytes. */
  readonly symbols: Uint8Array;
  /** [symbols][symbols]: probability that the symbol after row's is column's or an earlier one. */
  readonly cumulative: Float64Array;
}

/** Of the letters of a text, all small and without what stands between them. */
export async function bigramTable(corpus: Corpus): Promise<BigramTable> {
  const n = SYMBOLS.length;
  // One of each, so that every symbol can follow every other.
  const counts = new Float64Array(n * n).fill(1);
  let previous = 0;
  for await (const { text } of corpus.pieces()) {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i) | 0x20;
      if (code < 0x61 || code > 0x7a) continue;
      const symbol = code - 0x61;
      counts[previous * n + symbol]!++;
      previous = symbol;
    }
  }
  const cumulative = new Float64Array(n * n);
  for (let row = 0; row < n; row++) {
    const line = counts.subarray(row * n, (row + 1) * n);
    const total = line.reduce((sum, count) => sum + count, 0);
    let sum = 0;
    for (let column = 0; column < n; column++) {
      sum += line[column]!;
      cumulative[row * n + column] = column === n - 1 ? 1 : sum / total;
    }
  }
  return { symbols: new TextEncoder().encode(SYMBOLS), cumulative };
}

/** The index of a symbol after the one of index `from`, from a uniform number. */
export function drawAfter({ symbols, cumulative }: BigramTable, from: number, uniform: number): number {
  const n = symbols.length;
  let to = 0;
  while (cumulative[from * n + to]! <= uniform) to++;
  return to;
}
