import { LazyAttentionError } from '@lazy-attention/core';

/**
 * | code | what is wrong |
 * |---|---|
 * | MODEL_MISSING | no such file or folder, or one of its files is not there |
 * | MODEL_READ | the system cannot read it |
 * | MODEL_CORRUPT | truncated, damaged, or not what its name says |
 * | MODEL_CONFIG | a key of its configuration that is missing, of a wrong type, or out of range |
 * | MODEL_UNSUPPORTED | an architecture, option, quantisation or file type that this program does not read |
 * | MODEL_TENSORS | tensors that are missing, unknown, there twice, or of another shape than the configuration says |
 * | MODEL_TOKENIZER | a tokenizer that cannot be made or does not fit the model |
 * | MODEL_WRITE | it cannot be written, or not in that format |
 */
export type ModelErrorCode =
  | 'MODEL_MISSING'
  | 'MODEL_READ'
  | 'MODEL_CORRUPT'
  | 'MODEL_CONFIG'
  | 'MODEL_UNSUPPORTED'
  | 'MODEL_TENSORS'
  | 'MODEL_TOKENIZER'
  | 'MODEL_WRITE';

/** A model that cannot be read or written. The message names the file, the key or tensor, and the fix. */
export class ModelError extends LazyAttentionError {
  /** For programs; the README has the table. */
  declare readonly code: ModelErrorCode;
  /** File or folder. */
  readonly path: string;

  constructor(code: ModelErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(code, `${path}: ${message}`, options);
    this.path = path;
  }
}

/** The first few of many names, for messages. */
export function listed(names: readonly string[], most = 5): string {
  return names.length <= most ? names.join(', ') : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
