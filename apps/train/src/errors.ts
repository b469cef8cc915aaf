import { LazyAttentionError } from '@lazy-attention/core';

/** What can be wrong with a run folder. */
export type RunErrorCode =
  | 'RUN_EXISTS'
  | 'RUN_MISSING'
  | 'RUN_RECORD'
  | 'RUN_VERSION'
  | 'RUN_METRICS'
  | 'RUN_NO_CHECKPOINT'
  | 'RUN_DIFFERS'
  | 'RUN_WRITE'
  | 'RUN_LOCKED';

/** A run folder that is missing, taken, damaged, or that does not fit what was asked. The message says which and what to do. */
export class RunError extends LazyAttentionError {
  constructor(code: RunErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** Training that cannot go on: the loss or the gradient is no longer a finite number. */
export class TrainingError extends LazyAttentionError {
  /** At which it happened. */
  readonly step: number;

  constructor(message: string, step: number) {
    super('TRAINING_DIVERGED', message);
    this.step = step;
  }
}

/** A command line that makes no sense; the process exits with 2. */
export class UsageError extends LazyAttentionError {
  constructor(message: string) {
    super('USAGE', message);
  }
}
