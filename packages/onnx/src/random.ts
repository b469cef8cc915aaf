/**
 * Uniform numbers in [0, 1) from a seed and a row: Mulberry32 over a mixed state. The streams of nn's `generate` are
 * others: sampled text differs between the two, greedy text does not.
 */
export function uniform(seed: number, row: number): () => number {
  let state = Math.imul(seed ^ Math.floor(seed / 2 ** 32), 0x9e3779b1) ^ Math.imul(row + 1, 0x85ebca77);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
