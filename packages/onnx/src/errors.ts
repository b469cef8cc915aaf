import { LazyAttentionError } from '@lazy-attention/core';

/** A file that is no ONNX model, not one of ours, or of a format that this version does not know. */
export class OnnxFileError extends LazyAttentionError {
  constructor(path: string, message: string, options?: ErrorOptions) {
    super('ONNX_FILE', `${path}: ${message}`, options);
  }
}
