import { describe, expect, it } from 'vitest';
import { sampleToken } from '../src/index.ts';

/** The middles of `count` equal parts of [0, 1), one after the other. */
function evenly(count: number): () => number {
  let i = 0;
  return () => (i++ + 0.5) / count;
}

describe('sampleToken', () => {
  const logits = [0, 1, 2, -Infinity, 3].map((x) => x);
  const draw = (options: object, count = 20000) => {
    const random = evenly(count);
    const counts = logits.map(() => 0);
    for (let i = 0; i < count; i++) counts[sampleToken(logits, options, random)]++;
    return counts.map((n) => n / count);
  };
  const softmax = (keep: number[], temperature = 1) => {
    const weights = logits.map((x, i) => (keep.includes(i) ? Math.exp(x / temperature) : 0));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return weights.map((w) => w / total);
  };
  const close = (found: number[], expected: number[]) => {
    for (const [i, p] of expected.entries()) expect(Math.abs(found[i] - p)).toBeLessThan(p === 0 ? 1e-12 : 0.012);
  };

  it('follows the softmax, with temperature', () => {
    close(draw({}), softmax([0, 1, 2, 4]));
    close(draw({ temperature: 2 }), softmax([0, 1, 2, 4], 2));
  });
  it('draws from the k largest', () => close(draw({ topK: 2 }), softmax([2, 4])));
  it('draws from the smallest set that holds topP', () => {
    // Probabilities 0.644, 0.237, 0.087, 0.032.
    close(draw({ topP: 0.64 }), softmax([4]));
    close(draw({ topP: 0.65 }), softmax([2, 4]));
    close(draw({ topP: 0.9 }), softmax([1, 2, 4]));
  });
  it('gives ties to the lower id', () => {
    expect(sampleToken([1, 2, 2, 2], { topK: 1 }, () => 0.99)).toBe(1);
    expect(sampleToken([1, 2, 2, 2], { topK: 2 }, () => 0.99)).toBe(2);
    expect(sampleToken([1, 2, 2, 2], { temperature: 0 }, () => 0)).toBe(1);
  });
  it('is greedy at temperature 0', () => expect(sampleToken(logits, { temperature: 0 }, () => Number.NaN)).toBe(4));
  it('survives huge logits', () => expect(sampleToken([1e30, -1e30], { temperature: 1e-3 }, () => 0.999)).toBe(0));
  it('refuses NaN', () =>
    expect(() => sampleToken([0, Number.NaN], {}, () => 0)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: sample: the logit of token 1 is NaN; the parameters have diverged]`,
    ));
});
