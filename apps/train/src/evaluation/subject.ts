import { createBackend } from '@lazy-attention/core';
import { type Subject, type TextEncoder, textEncoder } from '@lazy-attention/evaluation';
import { disposeParams } from '@lazy-attention/nn';
import { loadArgument, openArgument } from '../run/model.ts';

/** Opens a MODEL on a backend, with the tokenizer that goes with it, for as long as `use` takes. */
export async function withSubject<T>(
  path: string,
  backendName: string,
  use: (subject: Subject, encoder: TextEncoder) => Promise<T>,
): Promise<T> {
  const argument = await openArgument(path);
  try {
    const backend = await createBackend(backendName);
    try {
      const { model, params, tokenizer } = await loadArgument(backend, argument);
      try {
        return await use({ backend, model, params }, textEncoder(tokenizer));
      } finally {
        disposeParams(params);
      }
    } finally {
      await backend.dispose();
    }
  } finally {
    await argument.opened.close();
  }
}
