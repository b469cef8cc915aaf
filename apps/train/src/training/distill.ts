import type { Backend, Tensor } from '@lazy-attention/core';
import { type Batch, disposeParams, type LazyTransformer, type Params } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { loadArgument, openArgument } from '../run/model.ts';
import { asLoss } from './sink-penalty.ts';

/** A model whose predictions another one learns. */
export interface Teacher {
  /** What it is. */
  readonly model: LazyTransformer;
  /** Its own, apart from those that are trained. */
  readonly params: Params;
}

/** The teacher on a backend; `disposeTeacher` gives it back. @throws UsageError where its vocabulary is another */
export async function loadTeacher(backend: Backend, path: string, config: LazyTransformer['config']): Promise<Teacher> {
  const argument = await openArgument(path);
  try {
    refuseStranger(path, argument.opened.config, config);
    const { model, params } = await loadArgument(backend, argument);
    return { model, params };
  } finally {
    await argument.opened.close();
  }
}

/** Gives its weights back. */
export function disposeTeacher(teacher: Teacher | null): void {
  if (teacher !== null) disposeParams(teacher.params);
}

/** @throws UsageError for a teacher that has other tokens, or that cannot see as far */
export function refuseStranger(
  path: string,
  teacher: LazyTransformer['config'],
  { vocabSize, context }: Pick<LazyTransformer['config'], 'vocabSize' | 'context'>,
): void {
  if (teacher.vocabSize !== vocabSize) {
    throw new UsageError(
      `train: --distill ${path} knows ${teacher.vocabSize} tokens and the model ${vocabSize}; choose one with the same tokenizer`,
    );
  }
  if (teacher.context < context) {
    throw new UsageError(
      `train: --distill ${path} was made for ${teacher.context} tokens, fewer than --context ${context}; choose at most that`,
    );
  }
}

/**
 * How the teacher's target differs from the text, (P - onehot) / rows, shaped as logits: with z the student's logits,
 * its cross-entropy against (1 - share) onehot + share P is crossEntropy(z) - share * sum(pull * z). That P - onehot is
 * the gradient of the teacher's own loss.
 */
export function teacherPull(backend: Backend, teacher: Teacher, { tokens, targets, starts, count }: Batch): Tensor {
  return backend.scope(() => {
    const { model, params } = teacher;
    const logits = model.forward(backend, params, tokens, { starts });
    const { loss, lse } = backend.crossEntropy(logits, targets, { count });
    return asLoss(backend, backend.crossEntropyGrad(backend.full([], 1, loss.dtype), logits, targets, lse, { count }));
  });
}
