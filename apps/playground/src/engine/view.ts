import type { AttentionSummary } from '@lazy-attention/analysis';

/** The weights of one head on one text: rows of the lower triangle, one after the other; row i has i + 1 weights. */
export type Triangle = Float32Array;

/** One head of one side at one moment. */
export interface HeadView {
  readonly layer: number;
  readonly head: number;
  readonly weights: Triangle;
  /** Mean weight on the first token over held-out text (docs/metrics.md). */
  readonly firstTokenWeight: number;
  /** Share of the weights that are exactly 0. */
  readonly sparsity: number;
  /** Offset of Elastic-Softmax; null without. */
  readonly tau: number | null;
  /** Bias by distance; null without. */
  readonly bias: readonly number[] | null;
}

/** One side at one moment: what its heads do. */
export interface SideView {
  /** In the order of layers and heads. */
  readonly heads: readonly HeadView[];
  /** Means over all heads. */
  readonly firstTokenWeight: number;
  /** Share of the heads above 0.3. */
  readonly sinkRate: number;
  readonly sparsity: number;
}

/** Entries of a triangle of `rows` rows. */
export function triangleSize(rows: number): number {
  return (rows * (rows + 1)) / 2;
}

/** Rows of a triangle. */
export function rowsOf(triangle: ArrayLike<number>): number {
  return Math.round((Math.sqrt(8 * triangle.length + 1) - 1) / 2);
}

/** Where row i of a triangle begins. */
export function rowStart(i: number): number {
  return (i * (i + 1)) / 2;
}

/** Each row divided by its sum; a row of zeros stays. */
export function normalised(triangle: Triangle): Triangle {
  const out = triangle.slice();
  for (let i = 0; i < rowsOf(triangle); i++) {
    const row = out.subarray(rowStart(i), rowStart(i + 1));
    const sum = row.reduce((total, w) => total + w, 0);
    if (sum > 0) for (let j = 0; j < row.length; j++) row[j] = (row[j] as number) / sum;
  }
  return out;
}

/** A meter's summary, with the maps that it kept. */
export function viewOf(summary: AttentionSummary, maps: AttentionSummary['maps'] = summary.maps): SideView {
  const heads = summary.layers.flatMap(({ layer, heads: measured }) =>
    measured.map(({ head, firstTokenWeight, sparsity, tau, bias }) => {
      const rows = maps.find((map) => map.layer === layer && map.head === head)?.weights ?? [];
      return { layer, head, weights: Float32Array.from(rows.flat()), firstTokenWeight, sparsity, tau, bias };
    }),
  );
  const { firstTokenWeight, sparsity, sinkRate } = summary.overall;
  return { heads, firstTokenWeight, sparsity, sinkRate: sinkRate['0.3'] ?? 0 };
}

/** The head that looks most at the first token. */
export function strongestHead({ heads }: SideView): HeadView {
  return heads.reduce((most, head) => (head.firstTokenWeight > most.firstTokenWeight ? head : most));
}
