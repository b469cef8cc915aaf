import { LazyAttentionError } from '@lazy-attention/core';

/** A model configuration that cannot be built: an unknown key, a size that is no positive integer, sizes that do not fit. */
export class ConfigError extends LazyAttentionError {
  constructor(message: string) {
    super('CONFIG', message);
  }
}

/** What went wrong with a checkpoint: `CheckpointError.code`. */
export type CheckpointErrorCode =
  | 'CHECKPOINT_MISSING'
  | 'CHECKPOINT_READ'
  | 'CHECKPOINT_CORRUPT'
  | 'CHECKPOINT_SHAPE'
  | 'CHECKPOINT_VERSION'
  | 'CHECKPOINT_WRITE';

/** A checkpoint that cannot be read or written. `path` is the file or folder; the message says what was expected there. */
export class CheckpointError extends LazyAttentionError {
  /** The file or folder. */
  readonly path: string;

  constructor(code: CheckpointErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(code, `${path}: ${message}`, options);
    this.path = path;
  }
}
