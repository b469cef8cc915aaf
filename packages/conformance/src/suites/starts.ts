import { integer, type Random } from '../random.ts';

/** The first key of row r of entry b, which has absolute position i = r + S - L; spec §Shapes and symbols. */
export type Starts = (b: number, r: number, i: number) => number;

/** Documents that begin at these positions, one after the other. */
export function packed(...boundaries: number[]): Starts {
  return (_b, _r, i) => Math.max(0, ...boundaries.filter((boundary) => boundary <= i));
}

/** Entry b has its first tokens as padding: they see only themselves, the rest sees what follows the padding. */
export function leftPadding(...lengths: number[]): Starts {
  return (b, _r, i) => Math.min(lengths[b % lengths.length], i);
}

/** The last `width` keys. */
export function sliding(width: number): Starts {
  return (_b, _r, i) => Math.max(0, i - width + 1);
}

/** Anything that the contract allows: not decreasing along r, and not after i. Call with b and r in order. */
export function arbitrary(random: Random): Starts {
  let previous = 0;
  return (_b, r, i) => {
    if (r === 0) previous = 0;
    if (random() < 0.4) previous = integer(random, previous, i);
    return previous;
  };
}
