import { describe, expect, it } from 'vitest';
import { normal, uniform } from '../src/random.ts';

const take = (count: number, random: () => number) => Array.from({ length: count }, random);

describe('uniform', () => {
  it('is in [0, 1), evenly', () => {
    const counts = new Array(10).fill(0);
    for (const x of take(100_000, uniform(1))) counts[Math.floor(x * 10)]++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400); // four standard deviations
  });
  it('differs by seed and stream, and repeats', () => {
    const first = (seed: number, stream?: string) => take(4, uniform(seed, stream)).join();
    expect(first(1)).toBe(first(1));
    const all = [first(0), first(1), first(2 ** 32), first(2 ** 32 + 1), first(1, 'a'), first(1, 'b')];
    expect(new Set(all).size).toBe(all.length);
  });
  it('is the same on every machine', () =>
    expect(take(3, uniform(42, 'golden'))).toMatchInlineSnapshot(`
    [
      0.2763904936186553,
      0.2806566708067858,
      0.6030664887849413,
    ]
  `));
});

describe('normal', () => {
  it('has the moments of a normal distribution', () => {
    const samples = normal(200_001, 2, uniform(3));
    expect(samples).toHaveLength(200_001);
    const moment = (power: number) => samples.reduce((sum, x) => sum + (x / 2) ** power, 0) / samples.length;
    expect(moment(1)).toBeCloseTo(0, 1);
    expect(moment(2)).toBeCloseTo(1, 1);
    expect(Math.abs(moment(3))).toBeLessThan(0.05);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.1);
  });
});
