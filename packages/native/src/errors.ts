import {
  BackendUnavailableError,
  DeviceLostError,
  LazyAttentionError,
  OutOfMemoryError,
  UnsupportedError,
} from '@lazy-attention/core';

/** What cpp/failure.cpp throws: an Error with one of core's codes. */
interface NativeError extends Error {
  readonly code?: string;
  readonly requestedBytes?: number;
  readonly fix?: string;
}

/** Core's typed error for one that came out of C++. Others pass unchanged: they are mistakes of this package. */
export function typedError(backend: string, op: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof LazyAttentionError) return error;
  const { code, message, requestedBytes = 0, fix } = error as NativeError;
  switch (code) {
    case 'OUT_OF_MEMORY':
      return new OutOfMemoryError(`${op}: ${message}`, requestedBytes);
    case 'DEVICE_LOST':
      return new DeviceLostError(`${op}: ${message}`, { cause: error });
    case 'UNSUPPORTED':
      return new UnsupportedError(`${op}: ${message}`);
    case 'BACKEND_UNAVAILABLE':
      return new BackendUnavailableError(backend, message, fix, { cause: error });
    default:
      return error;
  }
}
