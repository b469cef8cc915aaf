/*
 * The project's random numbers. Two streams, each the same on every platform and in every release: runs are resumed, and
 * models initialised, by them. Both give doubles in [0, 1) with 53 random bits. What `normal` makes of them is as exact as
 * the platform's logarithm and cosine.
 */

/**
 * Uniform numbers in [0, 1): xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS
 * 2021), its state filled by splitmix32 from an FNV-1a hash of the seed's 53 bits and the stream's name. A number is made of
 * two words: the upper 27 bits of the first, then the upper 26 of the second.
 *
 * @param seed a safe integer
 * @param stream gives independent streams of one seed
 */
export function uniform(seed: number, stream = ''): () => number {
  const next = splitmix32(mixSeed(seed, stream));
  let [a, b, c, d] = [next(), next(), next(), next()];
  const word = () => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  return () => ((word() >>> 5) * 0x4000000 + (word() >>> 6)) * 2 ** -53;
}

/**
 * Uniform numbers in [0, 1) from 128 bits of state that a hash gives: sfc32 (C. Doty-Humphrey, PractRand), the fourth word
 * its counter, the first 12 words left out. A number is made of two words: the upper 26 bits of the first, then the upper 27
 * of the second. For streams that depend on several keys.
 */
export function uniformOf(state: readonly [number, number, number, number]): () => number {
  let [a, b, c, counter] = state;
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

/** `count` samples of a normal distribution with mean 0, by the method of Box and Muller: two from two numbers. */
export function normal(count: number, standardDeviation: number, random: () => number): Float64Array {
  const samples = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = standardDeviation * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    samples[i] = radius * Math.cos(angle);
    if (i + 1 < count) samples[i + 1] = radius * Math.sin(angle);
  }
  return samples;
}

/** A uniformly random order of 0 .. count - 1 (Fisher and Yates, from the front). */
export function shuffledOrder(count: number, random: () => number): Uint32Array {
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    const j = Math.floor(random() * (i + 1));
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

function splitmix32(state: number): () => number {
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return z ^ (z >>> 15);
  };
}

/** FNV-1a over the seed's 53 bits and the stream's name. */
function mixSeed(seed: number, stream: string): number {
  let hash = 0x811c9dc5;
  const eat = (byte: number) => {
    hash = Math.imul(hash ^ byte, 0x01000193);
  };
  for (const word of [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0])
    for (let i = 0; i < 32; i += 8) eat((word >>> i) & 0xff);
  for (let i = 0; i < stream.length; i++) eat(stream.charCodeAt(i));
  return hash;
}
