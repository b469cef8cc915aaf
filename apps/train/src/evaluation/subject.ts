import { createBackend } from '@lazy-attention/core';
import { type Subject, type TextEncoder, textEncoder } from '@lazy-attention/evaluation';
import { openModel } from '@lazy-attention/models/node';
import { disposeParams } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';

/** Opens a MODEL on a backend, with the tokenizer that goes with it, for as long as `use` takes. */
export async function withSubject<T>(
  command: string,
  path: string,
  backendName: string,
  use: (subject: Subject, encoder: TextEncoder) => Promise<T>,
): Promise<T> {
  const opened = await openModel(path);
  try {
    if (opened.tokenizer === null) {
      throw new UsageError(`${command}: ${path} has no tokenizer; put its tokenizer.json beside the weights`);
    }
    const encoder = textEncoder(opened.tokenizer);
    const backend = await createBackend(backendName);
    try {
      const { model, params } = await opened.load(backend);
      try {
        return await use({ backend, model, params }, encoder);
      } finally {
        disposeParams(params);
      }
    } finally {
      await backend.dispose();
    }
  } finally {
    await opened.close();
  }
}
