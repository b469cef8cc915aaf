/**
 * Uniform numbers in [0, 1) with 53 random bits: xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom
 * number generators", ACM TOMS 2021), its state filled from the seed by splitmix32. `stream` gives independent streams
 * of one seed. The same on every platform.
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

/** `count` samples of a normal distribution with mean 0, by the method of Box and Muller. */
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
