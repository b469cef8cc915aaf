import type { AttentionConfig } from '../src/index.ts';
import { ropeFrequencies } from '../src/model/rope-scaling.ts';

export type Arrays = Readonly<Record<string, ArrayLike<number>>>;

/** Where a row of weights stands. */
export interface Row {
  readonly batch: number;
  readonly head: number;
  /** Position of the query. */
  readonly i: number;
  /** First key. */
  readonly start: number;
  /** x of the whole batch, [L][hiddenSize]. */
  readonly x: readonly (readonly number[])[];
}

/** Weights of the keys start..i from their scores. */
export type Weights = (scores: readonly number[], row: Row) => number[];

export const softmax: Weights = (scores) => {
  const highest = Math.max(...scores);
  const powers = scores.map((s) => Math.exp(s - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
};

/** y = W x + b of a Linear weight [out, in]. */
export function project(x: readonly number[], weight: ArrayLike<number>, bias?: ArrayLike<number>): number[] {
  return Array.from({ length: weight.length / x.length }, (_, o) =>
    x.reduce((sum, value, c) => sum + value * weight[o * x.length + c], bias?.[o] ?? 0),
  );
}

/** Heads of q and k, normalised and rotated as the config says: [L][heads][D]. */
function heads(config: AttentionConfig, p: Arrays, name: 'q' | 'k' | 'v', x: Row['x'], rotates: boolean): number[][][] {
  const { headDim: D, normEpsilon } = config;
  const { perPosition, factor } = ropeFrequencies(config, x.length);
  return x.map((row, position) => {
    const flat = project(row, p[`${name}_proj.weight`], p[`${name}_proj.bias`]);
    return Array.from({ length: flat.length / D }, (_, h) => {
      let head = flat.slice(h * D, (h + 1) * D);
      if (name === 'v') return head;
      if (config.qkNorm) {
        const scale = 1 / Math.sqrt(head.reduce((sum, v) => sum + v * v, 0) / D + normEpsilon);
        head = head.map((v, d) => v * scale * p[`${name}_norm.weight`][d]);
      }
      if (!rotates) return head;
      const [low, high] = [head.slice(0, D / 2), head.slice(D / 2)];
      const angle = (d: number) => position * perPosition[d];
      const first = low.map((v, d) => factor * (v * Math.cos(angle(d)) - high[d] * Math.sin(angle(d))));
      const second = high.map((v, d) => factor * (v * Math.cos(angle(d)) + low[d] * Math.sin(angle(d))));
      return [...first, ...second];
    });
  });
}

/** The whole attention layer in plain loops, float64: x [B, L, hiddenSize] to the same shape. */
export function naiveLayer(
  config: AttentionConfig,
  p: Arrays,
  x: ArrayLike<number>,
  [B, L]: readonly [number, number],
  options: {
    readonly weights?: Weights;
    readonly rotates?: boolean;
    readonly starts?: ArrayLike<number> | undefined;
    readonly gate?: (value: number, channel: number, row: readonly number[]) => number;
  } = {},
): number[] {
  const { hiddenSize: C, numHeads: H, numKvHeads, headDim: D, slidingWindow } = config;
  const { weights = softmax, rotates = true, starts, gate = (value) => value } = options;
  const out: number[] = [];
  for (let batch = 0; batch < B; batch++) {
    const rows = Array.from({ length: L }, (_, i) => Array.from({ length: C }, (_, c) => x[(batch * L + i) * C + c]));
    const [q, k, v] = (['q', 'k', 'v'] as const).map((name) => heads(config, p, name, rows, rotates));
    for (let i = 0; i < L; i++) {
      const start = Math.max(starts?.[batch * L + i] ?? 0, slidingWindow === null ? 0 : i - slidingWindow + 1);
      const joined: number[] = [];
      for (let head = 0; head < H; head++) {
        const g = Math.floor(head / (H / numKvHeads));
        const keys = Array.from({ length: i - start + 1 }, (_, n) => start + n);
        const scores = keys.map((j) => q[i][head].reduce((sum, a, d) => sum + a * k[j][g][d], 0) / Math.sqrt(D));
        const w = weights(scores, { batch, head, i, start, x: rows });
        for (let d = 0; d < D; d++) joined.push(keys.reduce((sum, j, n) => sum + w[n] * v[j][g][d], 0));
      }
      const gated = joined.map((value, channel) => gate(value, channel, rows[i]));
      out.push(...project(gated, p['o_proj.weight'], p['o_proj.bias']));
    }
  }
  return out;
}
