import { BackendUnavailableError, DeviceLostError, OutOfMemoryError, UnsupportedError } from '@lazy-attention/core';
import type { ErrorOf } from './addon.ts';

/** What the native side calls to make an error: core's class for the code of cpp/failure.cpp. */
export function errorOf(backend: string): ErrorOf {
  return (op, code, message, requestedBytes, fix) => {
    const text = `${op}: ${message}`;
    switch (code) {
      case 'OUT_OF_MEMORY':
        return new OutOfMemoryError(text, requestedBytes);
      case 'DEVICE_LOST':
        return new DeviceLostError(text);
      case 'UNSUPPORTED':
        return new UnsupportedError(text);
      case 'BACKEND_UNAVAILABLE':
        return new BackendUnavailableError(backend, message, fix === '' ? undefined : fix);
      default:
        return new Error(text); // a mistake of this package
    }
  };
}
