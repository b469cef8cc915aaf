import { LazyAttentionError, ValueError } from '@lazy-attention/core';

/** What can be wrong with data, stable for programs. The README has the table. */
export type DataErrorCode =
  | 'DATA_MISSING'
  | 'DATA_UNREADABLE'
  | 'DATA_EMPTY'
  | 'DATA_TOO_SHORT'
  | 'DATA_NOT_TEXT'
  | 'DATA_FORMAT'
  | 'DATA_COLUMN'
  | 'TOKENIZER'
  | 'SAMPLER_STATE'
  | 'STORE_DAMAGED'
  | 'STORE_EXISTS'
  | 'STORE_INCOMPLETE'
  | 'STORE_TOKENIZER'
  | 'STORE_VERSION'
  | 'STORE_WRITE';

/** The data, not the program, is wrong. The message says where, what was found, and what to do about it. */
export class DataError extends LazyAttentionError {
  /** For programs; the README has the table. */
  declare readonly code: DataErrorCode;

  constructor(code: DataErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** @throws ValueError unless `value` is an integer in [low, high] */
export function requireInteger(
  op: string,
  name: string,
  value: number,
  low: number,
  high = Number.MAX_SAFE_INTEGER,
): void {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    throw new ValueError(`${op}: ${name} is ${String(value)}; expected an integer from ${low} to ${high}`);
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
