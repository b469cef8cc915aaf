import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import {
  BENCHMARKS,
  type BenchmarkOptions,
  type Doc,
  evaluateItems,
  type FewShot,
  type Sample,
  type Subject,
  summarize,
  type Task,
  type TaskResult,
  type TextEncoder,
} from '@lazy-attention/evaluation';
import { type FoundItems, findItems, findOptionalItems } from '@lazy-attention/evaluation/node';
import { catchInterrupt } from '../cli/interrupt.ts';
import { UsageError } from '../errors.ts';
import { openSamples, type SampleOrigin, type SamplesFile } from '../evaluation/samples.ts';
import { withSubject } from '../evaluation/subject.ts';
import { createProgress } from '../output/progress.ts';

/** What `benchmark` takes. */
export interface BenchmarkCommandOptions {
  tasks: readonly string[];
  data: string;
  /** Items per task. */
  limit?: number;
  fewShot: number;
  fewShotSampler: 'random' | 'first';
  /** File of one line per item; an interrupted run goes on from it. */
  samples?: string;
  batchTokens: number;
  context?: number;
  backend: string;
  json?: boolean;
}

interface Job {
  readonly task: Task;
  readonly items: FoundItems;
  readonly fewShot: FewShot | undefined;
  readonly origin: SampleOrigin;
}

/** `lazy-attention benchmark MODEL`: accuracies and perplexities by lm-eval's rules. Returns the exit code. */
export async function benchmarkCommand(model: string, options: BenchmarkCommandOptions): Promise<number> {
  // Everything that can be wrong with tasks and files is found before the model is read.
  const jobs = await Promise.all(options.tasks.map((name) => prepareJob(name, model, options)));
  const samples =
    options.samples === undefined
      ? null
      : openSamples(
          options.samples,
          jobs.map(({ origin }) => origin),
        );
  const interrupt = catchInterrupt(() => process.stderr.write('\nstopping after this batch\n'));
  try {
    const results = await withSubject(model, { ...options, command: 'benchmark' }, async (subject, encoder) => {
      const done: [Job, TaskResult, number][] = [];
      for (const job of jobs) {
        const own = await runJob(subject, encoder, job, samples, options, interrupt.signal);
        if (own === null) break;
        done.push([job, summarize(job.task, own), own.length]);
      }
      return done;
    });
    if (options.json === true) console.log(JSON.stringify(asJson(model, results, options)));
    else console.log(asTable(results));
    if (interrupt.exitCode() !== 0) {
      const how = options.samples === undefined ? 'with --samples FILE it could go on' : 'run it again to go on';
      process.stderr.write(`interrupted; ${how}\n`);
    }
    return interrupt.exitCode();
  } finally {
    interrupt.end();
  }
}

async function prepareJob(name: string, model: string, options: BenchmarkCommandOptions): Promise<Job> {
  const task = BENCHMARKS.get(name);
  if (task === undefined) {
    throw new UsageError(`benchmark: unknown task '${name}'; expected some of ${[...BENCHMARKS.keys()].join(', ')}`);
  }
  const found = await findItems(options.data, task);
  const items = { ...found, docs: options.limit === undefined ? found.docs : found.docs.slice(0, options.limit) };
  const origin = (examples: readonly Doc[]): SampleOrigin => ({
    task: name,
    few_shot: options.fewShot,
    model: resolve(model),
    items: digestOf([found.docs, examples, options.context ?? null, examples.length > 0 && options.fewShotSampler]),
  });
  if (options.fewShot === 0) return { task, items, fewShot: undefined, origin: origin([]) };
  // As lm-eval does: examples come from the training part, else from the held-out part, else from what is evaluated.
  const examples = (await findOptionalItems(options.data, task, ['train', 'validation'])) ?? found;
  const sameSplit = examples.split === found.split;
  const fewShot = { count: options.fewShot, docs: examples.docs, sameSplit, sampler: options.fewShotSampler };
  return { task, items, fewShot, origin: origin(examples.docs) };
}

/** Of values of JSON and of parquet, whose 64-bit integers are bigints. */
function digestOf(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}n` : part));
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** All samples of a task, those of an earlier run included; null when it was interrupted. */
async function runJob(
  subject: Subject,
  encoder: TextEncoder,
  { task, items, fewShot, origin }: Job,
  file: SamplesFile | null,
  options: BenchmarkCommandOptions,
  signal: AbortSignal,
): Promise<Sample[] | null> {
  const samples = (file?.earlier(origin) ?? []).slice(0, items.docs.length);
  const progress = createProgress(task.name, items.docs.length, samples.length);
  const how: BenchmarkOptions = {
    fewShot,
    from: samples.length,
    signal,
    batchTokens: options.batchTokens,
    maxLength: options.context,
  };
  try {
    for await (const sample of evaluateItems(subject, encoder, task, items.docs, how)) {
      samples.push(sample);
      file?.add(origin, sample);
      progress.update(samples.length);
    }
    return samples;
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  } finally {
    progress.stop();
  }
}

/** In the layout of lm-eval's results file. */
function asJson(
  model: string,
  results: readonly [Job, TaskResult, number][],
  options: BenchmarkCommandOptions,
): object {
  const perTask = <T>(value: (job: Job, result: TaskResult, count: number) => T) =>
    Object.fromEntries(results.map(([job, result, count]) => [job.task.name, value(job, result, count)]));
  return {
    results: perTask((_, result) => result),
    'n-shot': perTask(() => options.fewShot),
    'n-samples': perTask(({ items }, _, effective) => ({ original: items.docs.length, effective })),
    config: { model, backend: options.backend, limit: options.limit ?? null, few_shot_sampler: options.fewShotSampler },
  };
}

function asTable(results: readonly [Job, TaskResult, number][]): string {
  const lines = results.flatMap(([{ task }, result, count]) =>
    Object.keys(result)
      .filter((key) => key.endsWith(',none') && !key.includes('_stderr'))
      .map((key, i) => {
        const metric = key.replace(',none', '');
        const error = result[`${metric}_stderr,none`];
        const shown = typeof error === 'number' ? ` ± ${error.toFixed(4)}` : '';
        const [name, items] = i === 0 ? [task.name, `${count} items`] : ['', ''];
        return `${name.padEnd(16)} ${items.padEnd(12)} ${metric.padEnd(16)} ${Number(result[key]).toFixed(4)}${shown}`;
      }),
  );
  return lines.join('\n');
}
