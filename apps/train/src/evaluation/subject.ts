import { createBackend } from '@lazy-attention/core';
import { type Subject, type TextEncoder, textEncoder } from '@lazy-attention/evaluation';
import { disposeParams } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { checkedContext, loadArgument, openArgument } from '../run/model.ts';

/** How a MODEL is asked. */
interface SubjectOptions {
  readonly backend: string;
  /** Of the command line; checked against the model's before its weights are read. */
  readonly context?: number | undefined;
  /** The command, for messages. */
  readonly command: string;
  /** Whether a model without tokenizer will do, since ids are scored. */
  readonly ids?: boolean;
}

/** Opens a MODEL on a backend, with the tokenizer that goes with it, for as long as `use` takes. */
export async function withSubject<T>(
  path: string,
  { backend: backendName, context, command, ids = false }: SubjectOptions,
  use: (subject: Subject, encoder: TextEncoder) => Promise<T>,
): Promise<T> {
  const argument = await openArgument(path);
  try {
    checkedContext(command, argument.opened, context);
    const bare = ids && argument.opened.tokenizer === null && argument.run === null;
    const backend = await createBackend(backendName);
    try {
      const loaded = bare
        ? { ...(await argument.opened.load(backend)), tokenizer: null }
        : await loadArgument(backend, argument);
      const { model, params, tokenizer } = loaded;
      try {
        return await use({ backend, model, params }, tokenizer === null ? idsAlone(path) : textEncoder(tokenizer));
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

/** Of a model without tokenizer: context and continuation have to be ids. */
function idsAlone(path: string): TextEncoder {
  const refuse = (): never => {
    throw new UsageError(
      `${path} has no tokenizer; give ids as context and continuation, or put its tokenizer.json beside config.json`,
    );
  };
  return {
    encode: refuse,
    encodeAlone: refuse,
    get prefixId() {
      return refuse();
    },
  };
}
