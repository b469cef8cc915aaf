import { createBackend } from '@lazy-attention/core';
import { openRun } from '../run/folder.ts';
import { loadTrained } from '../run/load.ts';
import { continueText } from '../training/sample.ts';

export interface GenerateCommandOptions {
  prompt: string;
  tokens: number;
  temperature: number;
  topK?: number;
  topP?: number;
  seed: number;
  backend: string;
  json?: boolean;
}

/** `lazy-attention generate RUN`: the prompt and its continuation on standard output, as it comes. */
export async function generateCommand(run: string, options: GenerateCommandOptions): Promise<void> {
  const { folder, record } = openRun(run);
  const backend = await createBackend(options.backend);
  try {
    const { model, params, tokenizer } = await loadTrained(backend, folder, record);
    const pieces = continueText(backend, model, params, tokenizer, options.prompt, {
      maxNewTokens: options.tokens,
      temperature: options.temperature,
      seed: options.seed,
      ...(options.topK === undefined ? {} : { topK: options.topK }),
      ...(options.topP === undefined ? {} : { topP: options.topP }),
    });
    let text = '';
    if (!options.json) process.stdout.write(options.prompt);
    for await (const piece of pieces) {
      text += piece;
      if (!options.json) process.stdout.write(piece);
    }
    process.stdout.write(options.json ? `${JSON.stringify({ prompt: options.prompt, text })}\n` : '\n');
  } finally {
    await backend.dispose();
  }
}
