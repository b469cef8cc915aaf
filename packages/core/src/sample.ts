import { ValueError } from './errors.ts';

/** How a token is drawn from logits. */
export interface SampleOptions {
  /** Logits are divided by it; 0 takes the largest. Default 1. */
  readonly temperature?: number | undefined;
  /** Only the k largest logits can be drawn. Default: all. */
  readonly topK?: number | undefined;
  /** Only the smallest set of tokens whose probabilities reach this sum can be drawn, after top-k. Default 1: all. */
  readonly topP?: number | undefined;
}

/** @throws ValueError for a temperature below 0, a topK that is no positive integer, a topP outside (0, 1] */
export function checkSampleOptions({ temperature = 1, topK, topP = 1 }: SampleOptions): void {
  if (!(temperature >= 0 && Number.isFinite(temperature))) {
    throw new ValueError(`sample: temperature is ${temperature}; expected a number from 0`);
  }
  if (topK !== undefined && (!Number.isSafeInteger(topK) || topK < 1)) {
    throw new ValueError(`sample: topK is ${topK}; expected a positive integer`);
  }
  if (!(topP > 0 && topP <= 1)) throw new ValueError(`sample: topP is ${topP}; expected more than 0, at most 1`);
}

/**
 * Draws a token from the logits of one position. `random` gives uniform numbers in [0, 1); greedy decoding takes none.
 * Ties go to the lower id. @throws ValueError for options out of range and for logits that are NaN
 */
export function sampleToken(logits: ArrayLike<number>, options: SampleOptions, random: () => number): number {
  checkSampleOptions(options);
  const { temperature = 1 } = options;
  const best = argmax(logits);
  if (temperature === 0) return best;

  const weight = (logit: number) => Math.exp((logit - logits[best]) / temperature);
  const kept = keptWeights(logits, options, weight);
  let remaining = random() * kept.reduce((sum, w) => sum + w, 0);
  for (let id = 0; id < kept.length; id++) {
    remaining -= kept[id];
    if (remaining < 0) return id;
  }
  return best; // rounding alone can lead here
}

/** Unnormalised probabilities, 0 for tokens that top-k and top-p leave out. */
function keptWeights(
  logits: ArrayLike<number>,
  options: SampleOptions,
  weight: (logit: number) => number,
): Float64Array {
  const { topK = logits.length, topP = 1 } = options;
  const weights = new Float64Array(logits.length);
  for (let id = 0; id < weights.length; id++) weights[id] = weight(logits[id]);
  if (topK >= logits.length && topP === 1) return weights;

  // Sorting numbers is far faster than sorting ids by them, and the last number kept tells which ids are.
  const sorted = new Float64Array(logits).sort().reverse().subarray(0, topK);
  const count = topP === 1 ? sorted.length : nucleus(sorted.map(weight), topP);
  const threshold = sorted[count - 1];
  let ties = count - sorted.indexOf(threshold);
  for (let id = 0; id < weights.length; id++) {
    const keep = logits[id] > threshold || (logits[id] === threshold && ties-- > 0);
    if (!keep) weights[id] = 0;
  }
  return weights;
}

/** How many of the weights, from the largest on, it takes to reach `share` of their sum. */
function nucleus(falling: Float64Array, share: number): number {
  const target = share * falling.reduce((sum, w) => sum + w, 0);
  let sum = 0;
  const last = falling.findIndex((w) => {
    sum += w;
    return sum >= target;
  });
  return last < 0 ? falling.length : last + 1;
}

function argmax(logits: ArrayLike<number>): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (Number.isNaN(logits[id]))
      throw new ValueError(`sample: the logit of token ${id} is NaN; the parameters have diverged`);
    if (logits[id] > logits[best]) best = id;
  }
  return best;
}
