import { LazyAttentionError } from '@lazy-attention/core';

/** What a reader calls a key of a configuration: a command line has flags. */
export type KeyName = (key: string) => string;

/** A model configuration that cannot be built: an unknown key, a size that is no positive integer, sizes that do not fit. */
export class ConfigError extends LazyAttentionError {
  /** The key at fault, say 'numHeads' or 'ropeScaling.factor'; null where the message is about no key. */
  readonly key: string | null;
  /** What is wrong with the key, with all keys that this names called as `nameOf` says; without a key the whole message. */
  readonly fault: (nameOf: KeyName) => string;

  constructor(message: string, key: string | null = null, fault: (nameOf: KeyName) => string = () => message) {
    super('CONFIG', message);
    this.key = key;
    this.fault = fault;
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
