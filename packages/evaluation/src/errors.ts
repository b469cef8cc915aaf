import { LazyAttentionError } from '@lazy-attention/core';

/** What can be wrong with an evaluation, stable for programs. */
export type EvaluationErrorCode =
  /** A request that cannot be scored: an empty continuation, an id outside the vocabulary, a line that is no request. */
  | 'REQUEST'
  /** A task that is not known, or whose items cannot be read. */
  | 'TASK'
  /** An item of a task that lacks a field, or has another type than the task's items. */
  | 'ITEM';

/** Requests, tasks or items that cannot be evaluated. The message says which, and what was expected. */
export class EvaluationError extends LazyAttentionError {
  /** For programs; the README has the table. */
  declare readonly code: EvaluationErrorCode;

  constructor(code: EvaluationErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}
