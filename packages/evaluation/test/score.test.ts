import { type Backend, createBackend, type TensorData } from '@lazy-attention/core';
import { byteTokenizer } from '@lazy-attention/data';
import { disposeParams, type LazyTransformer, lazyTransformer, type Params } from '@lazy-attention/nn';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  EvaluationError,
  encodePair,
  parseRequest,
  rollingWindows,
  scoreTokens,
  type TokenRequest,
  textEncoder,
} from '../dist/index.js';

const VOCABULARY = 40;
const model = lazyTransformer({
  vocabSize: VOCABULARY,
  hiddenSize: 16,
  numLayers: 2,
  numHeads: 2,
  context: 24,
  window: 8,
});

/** Log-probabilities of a continuation, one request at a time, from dense logits in float64. */
async function expected(
  backend: Backend,
  of: LazyTransformer,
  params: Params,
  { context, continuation }: TokenRequest,
) {
  const whole = [...context, ...continuation].slice(-(of.config.context + 1));
  const input = Int32Array.from(whole.slice(0, -1));
  const ids = backend.tensor(input, [1, input.length]);
  const logits = of.forward(backend, params, ids);
  const data: TensorData = await logits.data();
  ids.dispose();
  logits.dispose();
  const values = continuation.map((id, i) => {
    const row = input.length - continuation.length + i;
    const line = Array.from(data.slice(row * VOCABULARY, (row + 1) * VOCABULARY));
    const top = Math.max(...line);
    const lse = top + Math.log(line.reduce((sum, x) => sum + Math.exp(x - top), 0));
    return { logProbability: (line[id] as number) - lse, best: line.indexOf(top) === id };
  });
  return {
    logProbability: values.reduce((sum, v) => sum + v.logProbability, 0),
    isGreedy: values.every((v) => v.best),
  };
}

const requests: TokenRequest[] = [
  { context: [1], continuation: [2] },
  { context: [1, 2, 3, 4, 5], continuation: [6, 7, 8] },
  {
    context: [9],
    continuation: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24],
  },
  { context: Array.from({ length: 40 }, (_, i) => i), continuation: [5, 6] }, // loses its beginning
  { context: [3, 3], continuation: [3] },
  { context: [1, 2, 3, 4, 5], continuation: [39] },
];

describe.each(['reference', 'cpu'])('scoreTokens on %s', (name) => {
  let backend: Backend;
  let params: Params;

  beforeAll(async () => {
    backend = await createBackend(name);
    params = model.init(backend, 3);
  });
  afterAll(async () => {
    disposeParams(params);
    await backend.dispose();
  });

  it.each([1, 30, 2048])('gives what dense logits give, in batches of %d tokens', async (batchTokens) => {
    const before = backend.memory().tensors;
    const scores = await scoreTokens({ backend, model, params }, requests, { batchTokens });
    expect(backend.memory().tensors).toBe(before);
    for (const [i, request] of requests.entries()) {
      const want = await expected(backend, model, params, request);
      const got = scores[i]!;
      expect(got.logProbability).toBeCloseTo(want.logProbability, 4);
      expect(got.isGreedy).toBe(want.isGreedy);
      expect(got.tokens).toBe(request.continuation.length);
      expect(got.logProbabilities.reduce((a, b) => a + b)).toBeCloseTo(got.logProbability, 9);
    }
  });

  it('hides no model that overflows', async () => {
    const norm = params['model.norm.weight']!;
    const damaged = backend.tensor(new Array(norm.size).fill(Number.NaN), norm.shape, norm.dtype);
    const subject = { backend, model, params: { ...params, 'model.norm.weight': damaged } };
    const scored = scoreTokens(subject, requests);
    await expect(scored).rejects.toMatchObject({ code: 'REQUEST', message: expect.stringContaining('is NaN') });
    damaged.dispose();
  });

  it('says when a continuation is the greedy one', async () => {
    const subject = { backend, model, params };
    const tries = Array.from({ length: VOCABULARY }, (_, id) => ({ context: [1, 2], continuation: [id] }));
    const scores = await scoreTokens(subject, tries);
    const best = scores.findIndex(({ isGreedy }) => isGreedy);
    expect(scores.filter(({ isGreedy }) => isGreedy)).toHaveLength(1);
    expect(scores[best]?.logProbability).toBe(Math.max(...scores.map(({ logProbability }) => logProbability)));
    const total = scores.reduce((sum, { logProbability }) => sum + Math.exp(logProbability), 0);
    expect(total).toBeCloseTo(1, 5);
  });

  it.each([
    ['an empty context', { context: [], continuation: [1] }, 'context is empty'],
    ['an empty continuation', { context: [1], continuation: [] }, 'continuation is empty'],
    ['an id outside', { context: [1], continuation: [40] }, 'not in the vocabulary of 40'],
    ['an id that is none', { context: [1.5], continuation: [4] }, 'token id 1.5'],
    ['a continuation too long', { context: [1], continuation: new Array(25).fill(1) }, 'the model takes 24'],
  ])('refuses %s', async (_, request, message) => {
    const attempt = scoreTokens({ backend, model, params }, [requests[0]!, request]);
    await expect(attempt).rejects.toThrow(EvaluationError);
    await expect(attempt).rejects.toThrow(message);
  });

  it('refuses inputs longer than the model takes', async () => {
    const attempt = scoreTokens({ backend, model, params }, requests, { maxLength: 25 });
    await expect(attempt).rejects.toThrow('maxLength is 25; the model takes 24 tokens at most');
  });

  it('can be stopped between batches', async () => {
    const controller = new AbortController();
    const progress: number[] = [];
    const run = scoreTokens({ backend, model, params }, requests, {
      batchTokens: 1,
      signal: controller.signal,
      onProgress: (done) => {
        progress.push(done);
        if (done === 2) controller.abort();
      },
    });
    await expect(run).rejects.toThrow(/abort/i);
    expect(progress).toEqual([1, 2]);
  });
});

describe('encoding', () => {
  const encoder = textEncoder(byteTokenizer({ documentSeparator: true }));
  const bytes = (text: string) => [...new TextEncoder().encode(text)];

  it('moves spaces from the end of the context to the continuation', () => {
    const { context, continuation } = encodePair(encoder, 'ab  ', 'c');
    expect([context.at(-1), continuation]).toEqual([98, bytes('  c')]);
  });

  it('needs BOS or EOS for an empty context alone', () => {
    const bare = textEncoder(byteTokenizer());
    expect(encodePair(bare, 'ab', 'c')).toEqual({ context: bytes('ab'), continuation: bytes('c') });
    expect(() => encodePair(bare, '', 'c')).toThrow(/no BOS and no EOS to begin an empty context with; give a context/);
  });

  it('begins an empty context with the prefix token', () => {
    expect(encodePair(encoder, '', 'c')).toEqual({ context: [encoder.prefixId], continuation: bytes('c') });
  });

  it('refuses a continuation without tokens', () => {
    expect(() => encodePair(encoder, 'ab', '')).toThrow(EvaluationError);
  });

  it('cuts texts into windows that score every id once', () => {
    const ids = Array.from({ length: 23 }, (_, i) => i);
    const windows = rollingWindows(ids, 99, 10);
    expect(windows.flatMap(({ continuation }) => continuation)).toEqual(ids);
    expect(windows.map(({ context }) => context)).toEqual([[99], [9], [12, 13, 14, 15, 16, 17, 18, 19]]);
    expect(rollingWindows([], 99, 10)).toEqual([]);
  });
});

describe('lines of a requests file', () => {
  const encoder = textEncoder(byteTokenizer(), { prefixId: 7 });
  const limits = { maxLength: 2, vocabSize: 256 };
  it.each([
    ['{"context":[1,2],"continuation":[3]}', [{ context: [1, 2], continuation: [3] }]],
    ['{"context":"ab","continuation":[3]}', [{ context: [97, 98], continuation: [3] }]],
    ['{"context":"","continuation":"c"}', [{ context: [7], continuation: [99] }]],
    [
      '{"ids":[1,2,3]}',
      [
        { context: [7], continuation: [1, 2] },
        { context: [1, 2], continuation: [3] },
      ],
    ],
    ['{"text":"a"}', [{ context: [7], continuation: [97] }]],
  ])('%s', (line, expected) => {
    expect(parseRequest(encoder, limits, line, 'line 1')).toEqual(expected);
  });

  it.each([
    '{',
    '[]',
    '{}',
    '{"text":1}',
    '{"context":"a"}',
    '{"ids":[1.5]}',
    '{"text":""}',
    '{"text":"a","more":1}',
    '{"context":"a","continuation":""}',
    '{"context":"a","continuation":[256]}',
    '{"context":[999],"continuation":"a"}',
    '{"ids":[1,256,3]}',
    '{"context":"a","continuation":"too long"}',
  ])('refuses %s and names the line', (line) => {
    expect(() => parseRequest(encoder, limits, line, 'requests.jsonl, line 3')).toThrow(EvaluationError);
    expect(() => parseRequest(encoder, limits, line, 'requests.jsonl, line 3')).toThrow(/line 3/);
  });
});
