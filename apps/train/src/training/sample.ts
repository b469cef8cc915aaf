import type { Backend } from '@lazy-attention/core';
import type { Tokenizer } from '@lazy-attention/data';
import { type GenerateOptions, generate, type LazyTransformer, type Params } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';

/** Anything that continues prompts token by token: a model on a backend, or in an ONNX runtime. */
export type Continue = (prompts: number[][], options: GenerateOptions) => AsyncIterable<Int32Array>;

export function onBackend(backend: Backend, model: LazyTransformer, params: Params): Continue {
  return (prompts, options) => generate(backend, model, params, prompts, options);
}

/** Continues `prompt`, piece by piece: never half a character. Ends early at the tokeniser's end-of-text token. */
export async function* continueText(
  continuation: Continue,
  tokenizer: Tokenizer,
  prompt: string,
  options: Omit<GenerateOptions, 'stopTokens'>,
  withBos = true,
): AsyncGenerator<string> {
  const ids = [...tokenizer.encode(prompt)];
  if (withBos && tokenizer.bosId !== undefined) ids.unshift(tokenizer.bosId);
  if (ids.length === 0) {
    throw new UsageError('generate: the prompt is empty; give at least one character with --prompt');
  }
  const stopTokens = tokenizer.eosId === undefined ? [] : [tokenizer.eosId];
  const decoder = tokenizer.decoder(ids);
  for await (const [token] of continuation([ids], { ...options, stopTokens })) {
    if (stopTokens.includes(token)) break;
    const piece = decoder.push(token);
    if (piece !== '') yield piece;
  }
  const rest = decoder.flush();
  if (rest !== '') yield rest;
}

export async function collect(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}
