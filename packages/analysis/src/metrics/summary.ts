import { type HeadTally, strongestPosition } from './head.ts';
import type { HiddenTally } from './hidden.ts';
import { type ValueTally, valueNormRatio } from './values.ts';

/** Definitions: docs/metrics.md. Every figure is a mean over heads but where it says otherwise. */
export interface Metrics {
  /** Share of attended pairs whose weight is exactly 0. */
  readonly sparsity: number;
  /** Of the head with the least. */
  readonly minHeadSparsity: number;
  /** Mean over rows i >= 0 of the weight on the first token of the document (Gu et al., arXiv 2410.10781: alpha). */
  readonly firstTokenWeight: number;
  /** The same after dividing each row by its sum; rows whose sum is 0 are left out. */
  readonly firstTokenWeightNormalised: number;
  /** epsilon -> share of heads whose firstTokenWeight exceeds it. */
  readonly sinkRate: Readonly<Record<string, number>>;
  /** The same for firstTokenWeightNormalised. */
  readonly sinkRateNormalised: Readonly<Record<string, number>>;
  /** epsilon -> share of heads whose strongestPositionWeight exceeds it: sinks wherever they are. */
  readonly sinkRateAnywhere: Readonly<Record<string, number>>;
  /** Mean weight on the head's strongest position. */
  readonly strongestPositionWeight: number;
  /** Mean sum of the softmax weights that Elastic-Softmax does not cut to 0; the row mass without tau. */
  readonly survivingMass: number;
  /** Mean norm of the values at the strongest position over that of all: far below 1 when a sink's value is drained (arXiv 2410.13835). */
  readonly valueNormRatio: number;
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

/** Of one head. */
export interface HeadMetrics
  extends Omit<Metrics, 'sinkRate' | 'sinkRateNormalised' | 'sinkRateAnywhere' | 'minHeadSparsity'> {
  /** Number of the head, from 0. */
  readonly head: number;
  /** The position of a document with the largest mean weight, of those that half of the rows reach. */
  readonly strongestPosition: number;
  /** alpha_k: mean over the rows that reach position k of their document of the weight on it; null when none does. */
  readonly positionWeights: readonly (number | null)[];
  /** The same after dividing each row by its sum. */
  readonly positionWeightsNormalised: readonly (number | null)[];
  /** Offset of Elastic-Softmax; null without. */
  readonly tau: number | null;
  /** Bias by relative distance; null without. */
  readonly bias: readonly number[] | null;
}

/** Of one layer. */
export interface LayerMetrics {
  /** Number of the layer, from 0. */
  readonly layer: number;
  /** Means over its heads. */
  readonly overall: Metrics;
  /** In their order. */
  readonly heads: readonly HeadMetrics[];
}

/** Of the residual stream at one depth. */
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
  /** The largest absolute value. */
  readonly largestActivation: number;
  /** Where that is: position of the token in its document, channel, and the value with its sign. */
  readonly peak: { readonly position: number; readonly channel: number; readonly value: number };
  /** Mean norm of the first tokens of documents over that of all tokens. */
  readonly firstTokenNormRatio: number;
}

/** The weights of one head among the first positions of a text. */
export interface AttentionMap {
  /** Number of the layer, from 0. */
  readonly layer: number;
  /** Number of the head, from 0. */
  readonly head: number;
  /** weights[i][j] for j <= i. */
  readonly weights: readonly (readonly number[])[];
}

/** Everything that a meter has measured: plain JSON. */
export interface AttentionSummary {
  /** Means over all heads, and the sparsity of the layer with the least. */
  readonly overall: Metrics & { readonly minLayerSparsity: number };
  /** In their order. */
  readonly layers: readonly LayerMetrics[];
  /** One per rmsNorm, in order. */
  readonly hidden: readonly HiddenMetrics[];
  /** Those that were asked for. */
  readonly maps: readonly AttentionMap[];
  /** Rows of the batches seen. */
  readonly sequences: number;
  /** Query rows seen. */
  readonly tokens: number;
}

/** What was summed up of a head. */
export function headMetrics(
  head: number,
  tally: HeadTally,
  values: ValueTally,
  tau: number | null,
  bias: readonly number[] | null,
): HeadMetrics {
  const positionWeights = means(tally.position, tally.positionRows);
  const positionWeightsNormalised = means(tally.positionNormalised, tally.positionNormalisedRows);
  const strongest = strongestPosition(tally);
  return {
    head,
    strongestPosition: strongest.position,
    strongestPositionWeight: strongest.weight,
    survivingMass: tally.surviving / tally.rows,
    // Values that are all 0 are no smaller at one place than at another.
    valueNormRatio: valueNormRatio(values, strongest.position) ?? 1,
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

/** Means over heads. */
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
    sinkRateAnywhere: rate((head) => head.strongestPositionWeight),
    strongestPositionWeight: mean((head) => head.strongestPositionWeight),
    survivingMass: mean((head) => head.survivingMass),
    valueNormRatio: mean((head) => head.valueNormRatio),
    rowMass: mean((head) => head.rowMass),
    emptyRows: mean((head) => head.emptyRows),
    entropy: mean((head) => head.entropy),
    entropyNormalised: mean((head) => head.entropyNormalised),
    inactiveTiles: Object.fromEntries(
      Object.keys(heads[0].inactiveTiles).map((size) => [size, mean((head) => head.inactiveTiles[size])]),
    ),
  };
}

/** What was summed up of the residual stream at one depth. */
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
    peak: { position: tally.peakPosition, channel: tally.peak.channel, value: tally.peak.value },
    firstTokenNormRatio: ratio(ratio(tally.firstNorm, tally.firstNorms), ratio(tally.norm, tally.norms)),
  };
}

/** 0 where nothing was counted, so that summaries stay JSON. */
function ratio(sum: number, count: number): number {
  return count === 0 ? 0 : sum / count;
}

function means(sums: Float64Array, counts: Float64Array): (number | null)[] {
  return Array.from(sums, (sum, k) => (counts[k] === 0 ? null : sum / counts[k]));
}
