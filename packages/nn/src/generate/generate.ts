import {
  type Backend,
  checkOptions,
  checkSampleOptions,
  computedDType,
  type SampleOptions,
  sampleToken,
  ValueError,
} from '@lazy-attention/core';
import { createCache } from '../layers/cache.ts';
import type { LazyTransformer } from '../model/transformer.ts';
import { type Params, param } from '../params.ts';
import { uniform } from '../random.ts';
import { type FusedDecoder, fusedDecoder } from './fused.ts';
import { pace } from './pace.ts';

/** How `generate` draws, and when it ends. */
export interface GenerateOptions extends SampleOptions {
  /** Tokens to draw for each prompt. */
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
 * logits of the last position; a backend that fuses decoding draws some tokens at once, a fortieth of a second's worth, and
 * the next ones while the caller looks at them.
 *
 * Prompts of unequal lengths are padded on the left; `starts` keeps the padding out of attention. A row attends at most
 * the last `config.context` positions, the distances that the model was trained on.
 *
 * @throws ValueError for no or empty prompts, tokens outside the vocabulary, options out of range, logits that are NaN
 */
export async function* generate(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): AsyncGenerator<Int32Array, void, undefined> {
  const { stopTokens = [], signal } = checked(options);
  const stopped = prompts.map(() => false);
  signal?.throwIfAborted();
  for await (const tokens of draws(backend, model, params, prompts, options)) {
    for (let first = 0; first < tokens.length; first += prompts.length) {
      signal?.throwIfAborted();
      const next = tokens.slice(first, first + prompts.length).map((token, row) => (stopped[row] ? -1 : token));
      for (const [row, token] of next.entries()) stopped[row] ||= stopTokens.includes(token);
      yield next;
      if (stopped.every(Boolean)) return;
    }
  }
}

/** Tokens of one or more steps at a time, [steps, batch], whatever they are. */
async function* draws(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): AsyncGenerator<Int32Array, void, undefined> {
  const { maxNewTokens, seed = 0, temperature } = options;
  const { config } = model;
  const batch = prompts.length;
  const length = longest(prompts, config.vocabSize);
  const padding = prompts.map((prompt) => length - prompt.length);
  const random = prompts.map((_, row) => uniform(seed, `row ${row}`));

  const dtype = config.computeDType ?? computedDType(param(params, 'model.embeddings.weight').dtype);
  const cache = createCache(backend, config, { batch, capacity: length + maxNewTokens - 1, dtype });
  const reach = reachOf(config);
  const attendsAll = (end: number) => padding.every((pad) => pad === 0) && end <= reach;
  /** First key that a row attends. Padding attends itself alone, which nobody reads. */
  const startOf = (row: number, position: number) => Math.min(position, Math.max(padding[row], position - reach + 1));

  /** One token per row, after `count` more of each. */
  const stepByStep = async (tokens: Int32Array): Promise<Int32Array> => {
    const count = tokens.length / batch;
    const first = cache.length;
    const logits = backend.scope(() => {
      const starts = attendsAll(first + count)
        ? null
        : backend.tensor(
            Int32Array.from(tokens, (_, i) => startOf(Math.floor(i / count), first + (i % count))),
            [batch, count],
          );
      const ids = backend.tensor(tokens, [batch, count]);
      return model.forward(backend, params, ids, { starts, cache, positions: 'last' });
    });
    const values = await logits.data().finally(() => logits.dispose());
    return Int32Array.from(random, (draw, row) =>
      sampleToken(values.subarray(row * config.vocabSize, (row + 1) * config.vocabSize), options, draw),
    );
  };

  const { steps: fitting, took } = pace();
  /** Some tokens per row, `left` at most, after one more of each. */
  const severalSteps = async (decoder: FusedDecoder, last: Int32Array, left: number): Promise<Int32Array> => {
    const steps = fitting(left);
    const first = cache.length;
    const every = { length: steps * batch };
    const starts = attendsAll(first + steps)
      ? null
      : Int32Array.from(every, (_, i) => startOf(i % batch, first + Math.floor(i / batch)));
    const uniforms = temperature === 0 ? undefined : Float64Array.from(every, (_, i) => random[i % batch]());
    const begin = performance.now();
    const tokens = await decoder.draw(last, steps, starts, uniforms);
    took(performance.now() - begin, steps);
    return tokens;
  };

  let fused: FusedDecoder | null = null;
  let drawing = stepByStep(padLeft(prompts, length));
  try {
    fused = fusedDecoder(backend, config, params, cache, options);
    for (let left = maxNewTokens; ; ) {
      const tokens = await drawing;
      left -= tokens.length / batch;
      const last = tokens.subarray(tokens.length - batch);
      // The device goes on while the caller looks at these.
      if (left > 0 && fused !== null) drawing = severalSteps(fused, last, left);
      yield tokens;
      if (left === 0) return;
      if (fused === null) drawing = stepByStep(last);
    }
  } finally {
    await drawing.catch(() => {}); // thrown above, or of no interest any more
    fused?.dispose();
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

/** Positions that a row attends at most in every layer; where only some layers slide, they see to it themselves. */
function reachOf({ context, slidingWindow, fullAttentionLayers }: LazyTransformer['config']): number {
  return slidingWindow === null || fullAttentionLayers.length > 0 ? context : Math.min(context, slidingWindow);
}

/** The length of the longest prompt. Ids are checked here, since arrays of int32 would wrap them around. */
function longest(prompts: readonly ArrayLike<number>[], vocabSize: number): number {
  if (prompts.length === 0) throw new ValueError('generate: prompts is empty; expected at least one prompt');
  for (const [row, prompt] of prompts.entries()) {
    if (prompt.length === 0) throw new ValueError(`generate: prompts[${row}] is empty; expected at least one token`);
    for (const [i, token] of Array.from(prompt).entries()) {
      if (Number.isInteger(token) && token >= 0 && token < vocabSize) continue;
      throw new ValueError(
        `generate: prompts[${row}][${i}] is ${token}; expected a token id from 0 to ${vocabSize - 1}`,
      );
    }
  }
  return Math.max(...prompts.map((prompt) => prompt.length));
}

function padLeft(prompts: readonly ArrayLike<number>[], length: number): Int32Array {
  const padded = new Int32Array(prompts.length * length);
  for (const [row, prompt] of prompts.entries()) padded.set(Array.from(prompt), (row + 1) * length - prompt.length);
  return padded;
}
