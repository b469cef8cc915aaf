import type { Ops, Tensor } from '@lazy-attention/core';
import type { Batch, LazyTransformer, Params } from '@lazy-attention/nn';
import type { StartRecord, TrainingRecord } from '../run/record.ts';
import { asLoss, firstTokenWeight } from './sink-penalty.ts';

/** What a step computes its loss from. */
export type StepBatch = Batch & {
  /** Where first tokens are, for the penalty on their weight. */
  readonly marks?: Tensor;
  /** Where a teacher pulls the logits. */
  readonly pull?: Tensor;
};

/** Of a run's record; the penalty is that of the piece. */
type ObjectiveOptions = {
  readonly sinkPenalty: number;
  readonly distillShare: StartRecord['distillShare'] | undefined;
} & {
  readonly [K in 'recompute' | 'lossRows']: TrainingRecord[K] | undefined;
};

/**
 * The loss that a run goes down: cross-entropy against the text, or against a mix of it and a teacher's predictions (see
 * `teacherPull`), plus `sinkPenalty` times the mean weight on the first token over all rows, heads and layers.
 */
export function objective(model: LazyTransformer, { sinkPenalty, distillShare = 0.5, ...memory }: ObjectiveOptions) {
  return (ops: Ops, params: Params, { marks, pull, ...batch }: StepBatch): Tensor => {
    if (marks === undefined && pull === undefined) return model.loss(ops, params, batch, memory);
    const { tokens, targets, starts, count } = batch;
    const weights: Tensor[] = [];
    const logits = model.forward(ops, params, tokens, {
      starts,
      ...(marks && { observe: (layer) => weights.push(firstTokenWeight(ops, layer, marks)) }),
    });
    const { loss, lse } = ops.crossEntropy(logits, targets, { count });
    lse.dispose();
    const terms = [loss];
    if (pull !== undefined) terms.push(ops.scale(ops.sum(ops.mul(asLoss(ops, logits), pull)), -distillShare));
    logits.dispose();
    if (marks !== undefined) {
      terms.push(
        ops.scale(
          weights.reduce((sum, weight) => ops.add(sum, weight)),
          sinkPenalty / weights.length,
        ),
      );
    }
    return terms.reduce((sum, term) => ops.add(sum, term));
  };
}
