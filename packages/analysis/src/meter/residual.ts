import { addActivations, addCosines, addEffectiveRank, addNorms, type HiddenTally } from '../metrics/hidden.ts';
import type { ObservedAttention } from '../observe.ts';
import { type HeldResidual, hostStarts } from './held.ts';
import { notFinite } from './layer.ts';

/**
 * Adds the residual stream at one depth. `call` is the attention of the pass, which knows how long a sequence is: models
 * may flatten [B, L, C] to [B * L, C].
 */
export async function measureResidual(
  { index, x }: HeldResidual,
  tally: HiddenTally,
  call: ObservedAttention | undefined,
  sample: { readonly sequences: number; readonly tokens: number },
): Promise<void> {
  const width = x.shape[x.shape.length - 1];
  const length = sequenceLength(x.shape, call);
  const count = x.size / width / length;
  if (length < 2 || !Number.isInteger(count)) return; // without pairs of tokens there is nothing to compare
  const starts = call?.q.shape[1] === length ? await hostStarts(call.options.starts, count * length) : null;
  const values = await x.data();
  if (!addActivations(tally, values, width)) throw notFinite(`input of rmsNorm ${index}`);
  for (let sequence = 0; sequence < count; sequence++) {
    const from = sequence * length;
    for (const [begin, end] of documents(starts, from, from + length)) {
      addCosines(tally, values, width, begin, end);
      addNorms(tally, values, width, begin, end);
    }
    if (tally.rankedSequences < sample.sequences) {
      addEffectiveRank(tally, values, width, from, from + length, sample.tokens);
    }
  }
}

/** Whether a norm's input is of the shape that is measured: two or three axes, and pairs of tokens. */
export function isMeasurable(shape: readonly number[], call: ObservedAttention | undefined): boolean {
  const length = sequenceLength(shape, call);
  return length >= 2 && Number.isInteger(shape.slice(0, -1).reduce((a, b) => a * b, 1) / length);
}

function sequenceLength(shape: readonly number[], call: ObservedAttention | undefined): number {
  if (shape.length === 3) return shape[1];
  return call?.q.shape[1] ?? shape[0];
}

/** Maximal runs of rows with the same start: the documents of one sequence, as [from, to). */
function* documents(starts: Int32Array | null, from: number, to: number): Generator<[number, number]> {
  let begin = from;
  for (let row = from + 1; starts !== null && row < to; row++) {
    if (starts[row] === starts[row - 1]) continue;
    yield [begin, row];
    begin = row;
  }
  yield [begin, to];
}
