import { ValueError } from '@lazy-attention/core';
import type { Corpus } from '../corpus.ts';

const SYMBOLS = 'abcdefghijklmnopqrstuvwxyz';

/** How often each symbol follows each other one in a text, as running sums that a uniform number is looked up in. */
export interface BigramTable {
  /** The symbols as bytes. */
  readonly symbols: Uint8Array;
  /** [symbols][symbols]: probability that the symbol after row's is column's or an earlier one. */
  readonly cumulative: Float64Array;
}

/** How often each letter from a to z follows each other one in a text: all that a task keeps of it, 676 numbers. */
export interface LetterPairs {
  /** [26][26], row by row: how often the column's letter comes after the row's, plus 1. Whole numbers above 0. */
  readonly counts: ArrayLike<number>;
}

/** Counts the pairs of a text's letters, all small and without what stands between them. */
export async function letterPairs(corpus: Corpus): Promise<LetterPairs> {
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
  return { counts };
}

/** The table that letters are drawn from. @throws ValueError for counts that are no 676 whole numbers above 0 */
export function bigramTable({ counts }: LetterPairs): BigramTable {
  const n = SYMBOLS.length;
  const all = Float64Array.from(counts);
  if (all.length !== n * n || !all.every((count) => Number.isSafeInteger(count) && count > 0)) {
    throw new ValueError(`letter pairs: counts has ${all.length} entries; expected ${n * n} whole numbers above 0`);
  }
  const cumulative = new Float64Array(n * n);
  for (let row = 0; row < n; row++) {
    const line = all.subarray(row * n, (row + 1) * n);
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
