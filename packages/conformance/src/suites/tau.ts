import { type FloatDType, roundTo, statisticsDType } from '@lazy-attention/core';

/** Softmax weights [B, H, L, S] of a problem, and the first key that each row [B, L] attends. */
export interface Probabilities {
  readonly shape: readonly [number, number, number, number];
  readonly p: ArrayLike<number>;
  readonly starts: ArrayLike<number> | null;
}

/**
 * Values of tau near the wanted ones at which no weight is close to its kink. A pair is active when p + tau / n > 0;
 * where that is nearly zero, rounding decides, and one pair that flips changes a gradient by more than the tolerance.
 * So tau goes to the middle of the widest gap between the thresholds -p n within 20 % of what was asked for.
 */
export function settleTau(wanted: readonly number[], probabilities: Probabilities, dtype: FloatDType): number[] {
  return wanted.map((tau, h) => {
    if (tau >= 0) return roundTo(statisticsDType(dtype), tau);
    const [low, high] = [1.2 * tau, 0.8 * tau];
    const inside = thresholds(probabilities, h).filter((t) => t > low && t < high);
    const marks = [low, ...inside.sort((a, b) => a - b), high];
    let best = 0;
    for (let i = 0; i + 1 < marks.length; i++) {
      if (marks[i + 1] - marks[i] > marks[best + 1] - marks[best]) best = i;
    }
    return roundTo(statisticsDType(dtype), (marks[best] + marks[best + 1]) / 2);
  });
}

/** For a tau that has to be exact: throws when a threshold is close to it but not equal. Then another seed is due. */
export function assertSettled(tau: readonly number[], probabilities: Probabilities): void {
  for (const [h, value] of tau.entries()) {
    for (const threshold of thresholds(probabilities, h)) {
      const distance = Math.abs(threshold / value - 1);
      if (value < 0 && distance > 0 && distance < 1e-5)
        throw new Error(`tau ${value} is too close to a kink; change the seed`);
    }
  }
}

/** The tau at which each attended pair of head h stops being active. */
function thresholds({ shape, p, starts }: Probabilities, h: number): number[] {
  const [batch, heads, length, keys] = shape;
  const result: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < length; r++) {
      const i = r + keys - length;
      const start = starts === null ? 0 : starts[b * length + r];
      const row = ((b * heads + h) * length + r) * keys;
      for (let j = start; j <= i; j++) result.push(-p[row + j] * (i - start + 1));
    }
  }
  return result;
}
