import { ValueError } from '@lazy-attention/core';

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
  const { temperature = 1, topK, topP = 1 } = options;
  const best = argmax(logits);
  if (temperature === 0 || topK === 1) return best;

  const largest = logits[best];
  const weight = (id: number) => Math.exp((logits[id] - largest) / temperature);
  let ids = Array.from({ length: logits.length }, (_, id) => id);
  if ((topK !== undefined && topK < ids.length) || topP < 1) {
    ids.sort((a, b) => logits[b] - logits[a] || a - b);
    if (topK !== undefined) ids = ids.slice(0, topK);
    if (topP < 1) ids = nucleus(ids, weight, topP);
  }
  const total = ids.reduce((sum, id) => sum + weight(id), 0);
  let remaining = random() * total;
  for (const id of ids) {
    remaining -= weight(id);
    if (remaining < 0) return id;
  }
  return best; // rounding alone can lead here
}

/** The shortest beginning of `ids`, sorted by falling probability, that holds `share` of their sum. */
function nucleus(ids: number[], weight: (id: number) => number, share: number): number[] {
  const total = ids.reduce((sum, id) => sum + weight(id), 0);
  let sum = 0;
  const end = ids.findIndex((id) => {
    sum += weight(id);
    return sum >= share * total;
  });
  return end < 0 ? ids : ids.slice(0, end + 1);
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
