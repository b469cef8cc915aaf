import { type Backend, checkOptions, type Tensor, ValueError } from '@lazy-attention/core';
import { createCache } from '../layers/cache.ts';
import type { LazyTransformer } from '../model/transformer.ts';
import { type Params, param } from '../params.ts';
import { uniform } from '../random.ts';
import { checkSampleOptions, type SampleOptions, sampleToken } from './sample.ts';

export interface GenerateOptions extends SampleOptions {
  readonly maxNewTokens: number;
  /** Default 0. Each prompt has a random stream of its own, from the seed and its place in `prompts`. */
  readonly seed?: number | undefined;
  /** A row ends with the first of these that it draws. */
  readonly stopTokens?: readonly number[] | undefined;
  /** Ends the generator with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tokens that continue the prompts, all at once: each step yields one per prompt, and -1 for a prompt that has stopped (its stop
 * token is still given). Ends after `maxNewTokens` or when all have stopped. One wait for the device per step, to read the
 * logits of the last position.
 *
 * Prompts of unequal lengths are padded on the left; `starts` keeps the padding out of attention. A row attends at most
 * the last `config.context` positions, the distances that the model was trained on.
 *
 * @throws ValueError for no or empty prompts, tokens outside the vocabulary, options out of range
 */
export async function* generate(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): AsyncGenerator<Int32Array, void, undefined> {
  const { maxNewTokens, seed = 0, stopTokens = [], signal } = checked(options);
  const { config } = model;
  const batch = prompts.length;
  const length = longest(prompts);
  const padding = prompts.map((prompt) => length - prompt.length);
  const random = prompts.map((_, row) => uniform(seed, `row ${row}`));
  const stopped = prompts.map(() => false);

  /** First key that each row of a chunk attends, [batch, count]. Padding attends itself alone, which nobody reads. */
  const startsOf = (first: number, count: number): Tensor | null => {
    if (padding.every((pad) => pad === 0) && first + count <= config.context) return null;
    const starts = Int32Array.from({ length: batch * count }, (_, i) => {
      const position = first + (i % count);
      return Math.min(position, Math.max(padding[Math.floor(i / count)], position - config.context + 1));
    });
    return backend.tensor(starts, [batch, count]);
  };
  const dtype = config.computeDType ?? param(params, 'model.embeddings.weight').dtype;
  const cache = createCache(backend, config, { batch, capacity: length + maxNewTokens - 1, dtype });
  const launch = (chunk: Int32Array): Tensor =>
    backend.scope(() => {
      const count = chunk.length / batch;
      const starts = startsOf(cache.length, count);
      const tokens = backend.tensor(chunk, [batch, count]);
      return model.forward(backend, params, tokens, { starts, cache, positions: 'last' });
    });

  try {
    let chunk = padLeft(prompts, length);
    for (let step = 0; step < maxNewTokens; step++) {
      signal?.throwIfAborted();
      const logits = launch(chunk);
      const values = await logits.data().finally(() => logits.dispose());
      signal?.throwIfAborted();
      const next = new Int32Array(batch).fill(-1);
      for (let row = 0; row < batch; row++) {
        if (stopped[row]) continue;
        const own = values.subarray(row * config.vocabSize, (row + 1) * config.vocabSize);
        next[row] = sampleToken(own, options, random[row]);
        stopped[row] = stopTokens.includes(next[row]);
      }
      yield next;
      if (stopped.every(Boolean)) return;
      chunk = next.map((token) => Math.max(token, 0)); // a stopped row keeps its place in the batch
    }
  } finally {
    cache.dispose();
  }
}

function checked(options: GenerateOptions): GenerateOptions {
  checkOptions('generate', options, ['maxNewTokens', 'temperature', 'topK', 'topP', 'seed', 'stopTokens', 'signal']);
  const { maxNewTokens, seed = 0 } = options;
  if (!Number.isSafeInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new ValueError(`generate: maxNewTokens is ${maxNewTokens}; expected a positive integer`);
  }
  if (!Number.isSafeInteger(seed)) throw new ValueError(`generate: seed is ${seed}; expected an integer`);
  checkSampleOptions(options);
  return options;
}

function longest(prompts: readonly ArrayLike<number>[]): number {
  if (prompts.length === 0) throw new ValueError('generate: prompts is empty; expected at least one prompt');
  for (const [row, prompt] of prompts.entries()) {
    if (prompt.length === 0) throw new ValueError(`generate: prompts[${row}] is empty; expected at least one token`);
  }
  return Math.max(...prompts.map((prompt) => prompt.length));
}

function padLeft(prompts: readonly ArrayLike<number>[], length: number): Int32Array {
  const padded = new Int32Array(prompts.length * length);
  for (const [row, prompt] of prompts.entries()) padded.set(Array.from(prompt), (row + 1) * length - prompt.length);
  return padded;
}
