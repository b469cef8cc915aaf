import type { HeadTally } from './head.ts';
import type { HiddenTally } from './hidden.ts';

/** Definitions: docs/metrics.md. Every figure is a mean over heads but where it says otherwise. */
export interface Metrics {
  /** Share of attended pairs whose weight is exactly 0. */
  readonly sparsity: number;
  readonly minHeadSparsity: number;
  /** Mean over rows i >= 0 of the weight on the first token of the document (Gu et al., arXiv 2410.10781: alpha). */
  readonly firstTokenWeight: number;
  /** The same after dividing each row by its sum; rows whose sum is 0 are left out. */
  readonly firstTokenWeightNormalised: number;
  /** epsilon -> share of heads whose firstTokenWeight exceeds it. */
  readonly sinkRate: Readonly<Record<string, number>>;
  readonly sinkRateNormalised: Readonly<Record<string, number>>;
  /** Mean sum of a row; 1 for softmax. */
  readonly rowMass: number;
  /** Share of rows whose every weight is 0. */
  readonly emptyRows: number;
  /** Mean over rows of the entropy of the row divided by its sum, in nats. */
  readonly entropy: number;
  /** The same with each row's entropy divided by log of its attended keys: 1 is uniform. */
  readonly entropyNormalised: number;
  /** Tile size -> share of the tiles with attended pairs in which every weight is 0. */
  readonly inactiveTiles: Readonly<Record<string, number>>;
}

export interface HeadMetrics extends Omit<Metrics, 'sinkRate' | 'sinkRateNormalised' | 'minHeadSparsity'> {
  readonly head: number;
  /** alpha_k: mean over the rows that reach position k of their document of the weight on it; null when none does. */
  readonly positionWeights: readonly (number | null)[];
  readonly positionWeightsNormalised: readonly (number | null)[];
  /** Offset of Elastic-Softmax; null without. */
  readonly tau: number | null;
  /** Bias by relative distance; null without. */
  readonly bias: readonly number[] | null;
}

export interface LayerMetrics {
  readonly layer: number;
  readonly overall: Metrics;
  readonly heads: readonly HeadMetrics[];
}

export interface HiddenMetrics {
  /** Number of the rmsNorm that these representations enter, from 0. */
  readonly index: number;
  /** Attentions before it. */
  readonly layer: number;
  /** Mean over pairs of different tokens of one document. */
  readonly cosineSimilarity: number;
  /** Of the unit-length representations of a sequence, mean over the sampled sequences. */
  readonly effectiveRank: number;
  /** The largest value that it could have had. */
  readonly rankLimit: number;
  /** Fourth central moment over squared variance, all activations together; 3 for a normal distribution. */
  readonly kurtosis: number;
  readonly largestActivation: number;
}

export interface AttentionMap {
  readonly layer: number;
  readonly head: number;
  /** weights[i][j] for j <= i. */
  readonly weights: readonly (readonly number[])[];
}

export interface AttentionSummary {
  readonly overall: Metrics & { readonly minLayerSparsity: number };
  readonly layers: readonly LayerMetrics[];
  readonly hidden: readonly HiddenMetrics[];
  readonly maps: readonly AttentionMap[];
  /** Rows of the batches seen. */
  readonly sequences: number;
  /** Query rows seen. */
  readonly tokens: number;
}

export function headMetrics(
  head: number,
  tally: HeadTally,
  tau: number | null,
  bias: readonly number[] | null,
): HeadMetrics {
  const positionWeights = means(tally.position, tally.positionRows);
  const positionWeightsNormalised = means(tally.positionNormalised, tally.positionNormalisedRows);
  return {
    head,
    sparsity: tally.zeros / tally.pairs,
    firstTokenWeight: positionWeights[0] ?? 0,
    firstTokenWeightNormalised: positionWeightsNormalised[0] ?? 0,
    rowMass: tally.mass / tally.rows,
    emptyRows: 1 - tally.massRows / tally.rows,
    entropy: ratio(tally.entropy, tally.massRows),
    entropyNormalised: ratio(tally.entropyNormalised, tally.entropyRows),
    inactiveTiles: Object.fromEntries(tally.tiles.map(({ size, tiles, inactive }) => [size, ratio(inactive, tiles)])),
    positionWeights,
    positionWeightsNormalised,
    tau,
    bias,
  };
}

export function meanMetrics(heads: readonly HeadMetrics[], epsilons: readonly number[]): Metrics {
  const mean = (of: (head: HeadMetrics) => number) => heads.reduce((sum, head) => sum + of(head), 0) / heads.length;
  const rate = (of: (head: HeadMetrics) => number) =>
    Object.fromEntries(epsilons.map((epsilon) => [epsilon, mean((head) => (of(head) > epsilon ? 1 : 0))]));
  return {
    sparsity: mean((head) => head.sparsity),
    minHeadSparsity: Math.min(...heads.map((head) => head.sparsity)),
    firstTokenWeight: mean((head) => head.firstTokenWeight),
    firstTokenWeightNormalised: mean((head) => head.firstTokenWeightNormalised),
    sinkRate: rate((head) => head.firstTokenWeight),
    sinkRateNormalised: rate((head) => head.firstTokenWeightNormalised),
    rowMass: mean((head) => head.rowMass),
    emptyRows: mean((head) => head.emptyRows),
    entropy: mean((head) => head.entropy),
    entropyNormalised: mean((head) => head.entropyNormalised),
    inactiveTiles: Object.fromEntries(
      Object.keys(heads[0].inactiveTiles).map((size) => [size, mean((head) => head.inactiveTiles[size])]),
    ),
  };
}

export function hiddenMetrics(tally: HiddenTally): HiddenMetrics {
  const [m1, m2, m3, m4] = Array.from(tally.powers, (sum) => sum / tally.count);
  const variance = m2 - m1 ** 2;
  const fourth = m4 - 4 * m1 * m3 + 6 * m1 ** 2 * m2 - 3 * m1 ** 4;
  return {
    index: tally.index,
    layer: tally.layer,
    cosineSimilarity: ratio(tally.cosine, tally.pairs),
    effectiveRank: ratio(tally.rank, tally.rankedSequences),
    rankLimit: ratio(tally.rankLimit, tally.rankedSequences),
    kurtosis: variance > 0 ? fourth / variance ** 2 : 0,
    largestActivation: tally.largest,
  };
}

/** 0 where nothing was counted, so that summaries stay JSON. */
function ratio(sum: number, count: number): number {
  return count === 0 ? 0 : sum / count;
}

function means(sums: Float64Array, counts: Float64Array): (number | null)[] {
  return Array.from(sums, (sum, k) => (counts[k] === 0 ? null : sum / counts[k]));
}
