import { createReadStream } from 'node:fs';
import { textLines } from '@lazy-attention/data';
import {
  parseRequest,
  type Request,
  type RequestLimits,
  type Subject,
  scoreTokens,
  type TextEncoder,
} from '@lazy-attention/evaluation';
import { UsageError } from '../errors.ts';
import { withSubject } from '../evaluation/subject.ts';

/** What `score` takes. */
export interface ScoreCommandOptions {
  backend: string;
  /** Longest input in tokens; left out: the model's context. */
  context?: number;
  /** Tokens of one forward pass. */
  batchTokens: number;
  /** Ids and log-probabilities of every scored token too. */
  tokens?: boolean;
  json?: boolean;
}

/** Lines that are scored together: enough to sort them by length. */
const LINES = 256;

/** `lazy-attention score MODEL REQUESTS`: log-likelihoods, a line for each line of the requests. */
export async function scoreCommand(model: string, requests: string, options: ScoreCommandOptions): Promise<void> {
  await withSubject(model, { ...options, command: 'score', ids: true }, async (subject, encoder) => {
    const { context, vocabSize } = subject.model.config;
    const maxLength = options.context ?? context;
    const print = options.json === true ? printJson : printText;
    for await (const batch of requestBatches(requests, encoder, { maxLength, vocabSize })) {
      for (const answer of await answers(subject, batch, maxLength, options)) print(answer, options.tokens === true);
    }
  });
}

interface Answer {
  readonly logProbability: number;
  readonly tokens: number;
  readonly isGreedy: boolean;
  readonly ids: readonly number[];
  readonly logProbabilities: readonly number[];
}

async function* requestBatches(path: string, encoder: TextEncoder, limits: RequestLimits): AsyncGenerator<Request[]> {
  const input = path === '-' ? process.stdin : createReadStream(path);
  let batch: Request[] = [];
  let number = 0;
  try {
    for await (const line of textLines(path, input)) {
      number++;
      if (line.trim() === '') continue;
      batch.push(parseRequest(encoder, limits, line, `${path}, line ${number}`));
      if (batch.length < LINES) continue;
      yield batch;
      batch = [];
    }
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new UsageError(`score: ${path} cannot be read: ${error.message}`);
  }
  if (batch.length > 0) yield batch;
}

async function answers(
  subject: Subject,
  batch: readonly Request[],
  maxLength: number,
  { batchTokens }: ScoreCommandOptions,
): Promise<Answer[]> {
  const scores = await scoreTokens(subject, batch.flat(), { maxLength, batchTokens });
  let at = 0;
  return batch.map((windows) => {
    const own = scores.slice(at, at + windows.length);
    at += windows.length;
    return {
      logProbability: own.reduce((sum, score) => sum + score.logProbability, 0),
      tokens: own.reduce((sum, score) => sum + score.tokens, 0),
      isGreedy: own.every((score) => score.isGreedy),
      ids: windows.flatMap(({ continuation }) => continuation),
      logProbabilities: own.flatMap((score) => [...score.logProbabilities]),
    };
  });
}

function printJson({ ids, logProbabilities, ...answer }: Answer, tokens: boolean): void {
  console.log(JSON.stringify(tokens ? { ...answer, ids, logProbabilities } : answer));
}

function printText({ logProbability, tokens: count, isGreedy, ids, logProbabilities }: Answer, tokens: boolean): void {
  console.log(`${logProbability.toFixed(4).padStart(12)}  ${count} tokens${isGreedy ? ', greedy' : ''}`);
  if (tokens) console.log(ids.map((id, i) => `${id} ${(logProbabilities[i] as number).toFixed(4)}`).join('  '));
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
}
