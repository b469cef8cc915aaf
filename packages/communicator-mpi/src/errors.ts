import { LazyAttentionError } from '@lazy-attention/core';

/** What can be wrong with MPI. */
export type CommunicatorErrorCode =
  /** No library, or no binary of this package. */
  | 'MPI_MISSING'
  /** The library is not the one whose mpirun started the process. */
  | 'MPI_OTHER'
  /** The library reports a failure. */
  | 'MPI_FAILED';

/** MPI cannot be used. The message says why and what would help. */
export class CommunicatorError extends LazyAttentionError {
  /** For programs. */
  declare readonly code: CommunicatorErrorCode;

  constructor(code: CommunicatorErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}
