import { EvaluationError } from './errors.ts';
import { type FewShot, fewShotTexts } from './few-shot.ts';
import { encodePair, rollingWindows, type TextEncoder, type TokenRequest } from './requests.ts';
import { type ScoreOptions, type Subject, scoreTokens } from './score.ts';
import type { Doc, Task } from './tasks/task.ts';
import { countWords } from './tasks/wikitext.ts';

/** One evaluated item. */
export interface Sample {
  /** Its place among the items, from 0. */
  readonly doc_id: number;
  /** Log-probability of each choice, or of the one text. */
  readonly log_likelihoods: readonly number[];
  /** Whether each is what greedy decoding gives. */
  readonly is_greedy: readonly boolean[];
  /** The choice of the largest log-probability; null for tasks without choices. */
  readonly prediction: number | null;
  /** The right choice; null for tasks without choices. */
  readonly target: number | null;
  /** Of this item: acc, acc_norm, ... 1 or 0. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Words and bytes of the text, for tasks whose perplexity is by word. */
  readonly words?: number;
  /** UTF-8 bytes of what was scored. */
  readonly bytes?: number;
}

export interface BenchmarkOptions extends Omit<ScoreOptions, 'onProgress'> {
  /** Examples before each item. Default none. */
  readonly fewShot?: FewShot | undefined;
  /** The first item to evaluate, where an earlier run went so far. Default 0. */
  readonly from?: number | undefined;
  /** Items whose requests are scored together. Default 64. */
  readonly chunk?: number | undefined;
}

/** Evaluates the items of a task one chunk after another, and gives them in order. */
export async function* evaluateItems(
  subject: Subject,
  encoder: TextEncoder,
  task: Task,
  docs: readonly Doc[],
  { fewShot, from = 0, chunk = 64, ...options }: BenchmarkOptions = {},
): AsyncGenerator<Sample> {
  const examples = fewShotTexts(task, fewShot);
  const maxLength = options.maxLength ?? subject.model.config.context;
  for (let first = 0; first < docs.length; first += chunk) {
    const items = docs.slice(first, first + chunk).map((doc, i) => {
      const id = first + i;
      const prefix = examples(doc); // also for items that are left out: the draws go on from one to the next
      return id < from
        ? null
        : { id, doc, requests: located(task, id, () => requestsOf(task, doc, prefix, encoder, maxLength)) };
    });
    const wanted = items.filter((item) => item !== null);
    const scores = await scoreTokens(
      subject,
      wanted.flatMap(({ requests }) => requests),
      options,
    );
    let at = 0;
    for (const { id, doc, requests } of wanted) {
      const own = scores.slice(at, at + requests.length);
      at += requests.length;
      const sums = own.map(({ logProbability }) => logProbability);
      yield sampleOf(
        task,
        id,
        doc,
        sums,
        own.map(({ isGreedy }) => isGreedy),
      );
    }
  }
}

function requestsOf(task: Task, doc: Doc, prefix: string, encoder: TextEncoder, maxLength: number): TokenRequest[] {
  // A wrong answer is found before anything is computed.
  if ('gold' in task) task.gold(doc);
  switch (task.kind) {
    case 'choice': {
      const context = prefix + task.context(doc);
      return task.choices(doc).map((choice) => encodePair(encoder, context, ` ${choice}`));
    }
    case 'context': {
      const continuation = ` ${task.continuation(doc)}`;
      return task.contexts(doc).map((context) => encodePair(encoder, prefix + context, continuation));
    }
    case 'completion':
      return [encodePair(encoder, prefix + task.context(doc), task.continuation(doc))];
    case 'rolling':
      return rollingWindows(encoder.encode(task.text(doc)), encoder.prefixId, maxLength);
  }
}

/** Says which item of which task was wrong. */
function located<T>(task: Task, id: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof EvaluationError)) throw error;
    throw new EvaluationError(error.code, `${task.name}, item ${id}: ${error.message}`, { cause: error });
  }
}

function sampleOf(task: Task, id: number, doc: Doc, sums: readonly number[], greedy: readonly boolean[]): Sample {
  const plain = { doc_id: id, log_likelihoods: sums, is_greedy: greedy };
  if (task.kind === 'completion') {
    return { ...plain, prediction: null, target: null, metrics: { acc: Number(greedy[0]) } };
  }
  if (task.kind === 'rolling') {
    const counted = task.counted(doc);
    const total = sums.reduce((a, b) => a + b, 0);
    const bytes = new TextEncoder().encode(counted).length;
    return {
      ...plain,
      log_likelihoods: [total],
      prediction: null,
      target: null,
      metrics: {},
      words: countWords(counted),
      bytes,
    };
  }
  const target = task.gold(doc);
  const prediction = largest(sums);
  const metrics: Record<string, number> = { acc: Number(prediction === target) };
  if (task.kind === 'choice' && task.normalised) {
    const choices = task.choices(doc);
    const by = (length: (choice: string) => number) =>
      Number(largest(sums.map((sum, i) => sum / length(choices[i] as string))) === target);
    metrics.acc_norm = by((choice) => [...choice].length); // code points, as Python counts
    metrics.acc_bytes = by((choice) => new TextEncoder().encode(choice).length);
  }
  return { ...plain, prediction, target, metrics };
}

/** The first of the largest. */
function largest(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > (values[best] as number) ? i : best), 0);
}

/** Metric to value, with standard errors, as `results.<task>` of lm-eval's JSON has them. */
export type TaskResult = Readonly<Record<string, number | string>>;

/** Means over the samples of a task, with their standard errors. */
export function summarize(task: Task, samples: readonly Sample[]): TaskResult {
  if (samples.length === 0) throw new EvaluationError('TASK', `benchmark: ${task.name} has no items`);
  const result: Record<string, number | string> = { alias: task.name };
  if (task.kind === 'rolling') {
    const total = sum(samples.map(({ log_likelihoods }) => log_likelihoods[0] as number));
    const words = sum(samples.map((sample) => sample.words as number));
    const bytes = sum(samples.map((sample) => sample.bytes as number));
    const values = {
      word_perplexity: Math.exp(-total / words),
      byte_perplexity: Math.exp(-total / bytes),
      bits_per_byte: -total / bytes / Math.LN2,
    };
    for (const [name, value] of Object.entries(values)) put(result, name, value, 'N/A');
    return result;
  }
  if (task.kind === 'completion') {
    const logs = samples.map(({ log_likelihoods }) => log_likelihoods[0] as number);
    const perplexity = Math.exp(-mean(logs));
    // To first order; lm-eval draws bootstrap samples instead.
    put(result, 'perplexity', perplexity, perplexity * standardError(logs));
  }
  for (const name of Object.keys((samples[0] as Sample).metrics)) {
    const values = samples.map(({ metrics }) => metrics[name] as number);
    put(result, name, mean(values), standardError(values));
  }
  return result;
}

function put(result: Record<string, number | string>, name: string, value: number, error: number | 'N/A'): void {
  result[`${name},none`] = value;
  result[`${name}_stderr,none`] = error;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

/** Of the mean, from the sample's standard deviation; 0 for one value. */
function standardError(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = mean(values);
  return Math.sqrt(sum(values.map((value) => (value - center) ** 2)) / (values.length - 1) / values.length);
}
