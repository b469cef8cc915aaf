import { type Backend, checkOptions, type Tensor } from '@lazy-attention/core';
import type { LazyTransformer, Params } from '@lazy-attention/nn';
import { EvaluationError } from './errors.ts';
import { checkRequest, type RequestLimits, type TokenRequest } from './requests.ts';

/** A model that can be asked. */
export interface Subject {
  /** What it runs on. */
  readonly backend: Backend;
  /** What is evaluated. */
  readonly model: LazyTransformer;
  /** Its parameters, on `backend`. */
  readonly params: Params;
}

/** What a continuation is worth. */
export interface TokenScore {
  /** Sum over its tokens of the natural logarithm of their probabilities. */
  readonly logProbability: number;
  /** How many tokens it has. */
  readonly tokens: number;
  /** Whether each of them is the most probable one at its place. */
  readonly isGreedy: boolean;
  /** Of each token. */
  readonly logProbabilities: Float64Array;
}

/** What scoring takes. */
export interface ScoreOptions {
  /** Longest input; longer ones lose tokens of the context, from the left. Default, and at most: the model's context. */
  readonly maxLength?: number | undefined;
  /** Tokens of one forward pass, padding included. Default 2048. */
  readonly batchTokens?: number | undefined;
  /** Called after each batch with how many requests are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Stops the work: the promise rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of logits of one forward pass, at most (but for a single long continuation). */
const LOGIT_BYTES = 256 * 2 ** 20;
const NONE = -100;

/** One request, ready for the model: logits at the last `targets.length` positions of `input` give its probabilities. */
interface Row {
  readonly index: number;
  readonly input: readonly number[];
  readonly targets: readonly number[];
}

/**
 * Log-probabilities of every request's continuation, in the order of the requests. Batched by length: rows are padded on the
 * left, and logits are computed where a continuation is.
 * @throws EvaluationError (REQUEST) for an empty context or continuation, an id outside the vocabulary, a continuation longer
 *   than the model's context, a `maxLength` beyond it
 */
export async function scoreTokens(
  subject: Subject,
  requests: readonly TokenRequest[],
  options: ScoreOptions = {},
): Promise<TokenScore[]> {
  checkOptions('score', options, ['maxLength', 'batchTokens', 'onProgress', 'signal']);
  const { config } = subject.model;
  const { maxLength = config.context, batchTokens = 2048 } = options;
  if (maxLength > config.context) {
    const message = `score: maxLength is ${maxLength}; the model takes ${config.context} tokens at most`;
    throw new EvaluationError('REQUEST', message);
  }
  const rows = requests.map((request, index) => rowOf(request, index, { vocabSize: config.vocabSize, maxLength }));
  const scores = new Array<TokenScore>(rows.length);
  let done = 0;
  for (const batch of batches(rows, batchTokens, config.vocabSize)) {
    options.signal?.throwIfAborted();
    for (const [i, score] of (await scoreBatch(subject, batch)).entries()) {
      scores[(batch[i] as Row).index] = score;
    }
    done += batch.length;
    options.onProgress?.(done, rows.length);
  }
  return scores;
}

function rowOf(request: TokenRequest, index: number, limits: RequestLimits): Row {
  checkRequest(request, limits, `score: request ${index}`);
  const { context, continuation } = request;
  const whole = [...context, ...continuation].slice(-(limits.maxLength + 1));
  return { index, input: whole.slice(0, -1), targets: continuation };
}

/** From the longest to the shortest, so that a batch holds rows of about one length and memory is short at once or never. */
function batches(rows: readonly Row[], batchTokens: number, vocabSize: number): Row[][] {
  const sorted = [...rows].sort((a, b) => b.input.length - a.input.length || a.index - b.index);
  const result: Row[][] = [];
  let batch: Row[] = [];
  let most = 0;
  for (const row of sorted) {
    const width = (batch[0] ?? row).input.length;
    const targets = Math.max(most, row.targets.length);
    const fits =
      (batch.length + 1) * width <= batchTokens && (batch.length + 1) * targets * vocabSize * 4 <= LOGIT_BYTES;
    if (batch.length > 0 && !fits) {
      result.push(batch);
      batch = [];
      most = 0;
    }
    batch.push(row);
    most = Math.max(most, row.targets.length);
  }
  if (batch.length > 0) result.push(batch);
  return result;
}

async function scoreBatch({ backend, model, params }: Subject, rows: readonly Row[]): Promise<TokenScore[]> {
  const length = Math.max(...rows.map(({ input }) => input.length));
  const count = Math.max(...rows.map(({ targets }) => targets.length));
  const { tokens, starts } = padLeft(rows, length);
  const targets = alignedRight(rows, count);
  const { picked, lse, best } = backend.scope(() => {
    const logits = model.forward(backend, params, backend.tensor(tokens, [rows.length, length]), {
      starts: backend.tensor(starts, [rows.length, length]),
      positions: count,
    });
    return tokenStatistics(backend, logits, targets);
  });
  try {
    const [values, norms, greedy] = await Promise.all([picked.data(), lse.data(), best.data()]);
    return rows.map((row, r) => {
      const first = (r + 1) * count - row.targets.length;
      const logProbabilities = Float64Array.from(
        row.targets,
        (_, i) => Number(values[first + i]) - Number(norms[first + i]),
      );
      // Nothing compares with NaN: an accuracy made of it would look like one.
      const wrong = logProbabilities.find((value) => !Number.isFinite(value));
      if (wrong !== undefined) {
        const what = `a log-probability is ${wrong}; the model overflows in this dtype, or its weights are damaged`;
        throw new EvaluationError('REQUEST', `score: request ${row.index}: ${what}`);
      }
      return {
        logProbability: logProbabilities.reduce((sum, value) => sum + value, 0),
        tokens: row.targets.length,
        isGreedy: row.targets.every((id, i) => greedy[first + i] === id),
        logProbabilities,
      };
    });
  } finally {
    for (const tensor of [picked, lse, best]) tensor.dispose();
  }
}

/** Per row of logits [B, n, V]: the target's logit, log sum exp, and the id of the largest. `targets` holds NONE where there is none. */
function tokenStatistics(
  backend: Backend,
  logits: Tensor,
  targets: Int32Array,
): { picked: Tensor; lse: Tensor; best: Tensor } {
  const vocabulary = logits.shape[2] as number;
  const flat = backend.reshape(logits, [targets.length, vocabulary]);
  const { lse } = backend.crossEntropy(flat, backend.tensor(targets, [targets.length]), { ignoreIndex: NONE });
  // The logits as a table of single numbers, of which the targets' are looked up.
  const places = targets.map((id, row) => row * vocabulary + Math.max(id, 0));
  const table = backend.reshape(logits, [targets.length * vocabulary, 1]);
  const picked = backend.embedding(table, backend.tensor(places, [targets.length]));
  return { picked, lse, best: backend.reduce('argmax', flat, { axes: [1] }) };
}

function padLeft(rows: readonly Row[], length: number): { tokens: Int32Array; starts: Int32Array } {
  const tokens = new Int32Array(rows.length * length);
  const starts = new Int32Array(rows.length * length);
  for (const [r, { input }] of rows.entries()) {
    const padding = length - input.length;
    tokens.set(input, r * length + padding);
    // A padding token attends itself: every row of attention needs a key.
    for (let i = 0; i < length; i++) starts[r * length + i] = Math.min(i, padding);
  }
  return { tokens, starts };
}

function alignedRight(rows: readonly Row[], count: number): Int32Array {
  const targets = new Int32Array(rows.length * count).fill(NONE);
  for (const [r, row] of rows.entries()) targets.set(row.targets, (r + 1) * count - row.targets.length);
  return targets;
}
