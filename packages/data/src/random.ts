import { IntegerHash } from './hash.ts';

/**
 * Uniform doubles in [0, 1), 53 bits each, that depend on the keys alone: integer arithmetic only, so every machine draws
 * the same. The generator is sfc32 (C. Doty-Humphrey, PractRand), seeded from a hash of the keys.
 */
export function randomStream(...keys: number[]): () => number {
  const hash = new IntegerHash();
  for (const key of keys) hash.addInteger(key);
  let [a, b, c, counter] = hash.words();
  const word = (): number => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  for (let i = 0; i < 12; i++) word();
  return () => ((word() >>> 6) * 2 ** 27 + (word() >>> 5)) / 2 ** 53;
}

/** A uniformly random order of 0 .. count - 1 (Fisher and Yates). */
export function shuffledOrder(count: number, random: () => number): Uint32Array {
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    const j = Math.floor(random() * (i + 1));
    order[i] = order[j]!;
    order[j] = i;
  }
  return order;
}
