import { existsSync } from 'node:fs';
import type { Sample } from '@lazy-attention/evaluation';
import * as v from 'valibot';
import { UsageError } from '../errors.ts';
import { appendLine, textOfFile, writeWhole } from '../run/files.ts';

/** What a line of a samples file belongs to: an interrupted benchmark goes on only with the same. */
export interface SampleOrigin {
  readonly task: string;
  readonly few_shot: number;
  readonly model: string;
  /** Digest of the items, of the examples, and of whatever else decides a sample. */
  readonly items: string;
}

const number = v.pipe(v.number(), v.finite());
const line = v.object({
  task: v.string(),
  few_shot: number,
  model: v.string(),
  items: v.string(),
  doc_id: v.pipe(v.number(), v.integer(), v.minValue(0)),
  log_likelihoods: v.array(number),
  is_greedy: v.array(v.boolean()),
  prediction: v.nullable(v.number()),
  target: v.nullable(v.number()),
  metrics: v.record(v.string(), number),
  words: v.optional(number),
  bytes: v.optional(number),
});

/** A samples file: one line of JSON per evaluated item. */
export interface SamplesFile {
  /** Items of this task that an earlier run left there, in order from the first. */
  earlier(origin: SampleOrigin): Sample[];
  add(origin: SampleOrigin, sample: Sample): void;
}

function textOf(path: string): string {
  try {
    return textOfFile(path);
  } catch (error) {
    throw new UsageError(`benchmark: ${path} cannot be read: ${(error as Error).message}`);
  }
}

/**
 * Opens a samples file, new or left by an interrupted run; a line that was cut short is taken out.
 * @throws UsageError for a file that holds anything else, or samples of another model or another number of examples
 */
export function openSamples(path: string, expected: readonly SampleOrigin[]): SamplesFile {
  const byTask = new Map<string, Sample[]>();
  if (existsSync(path)) {
    const lines = textOf(path).split('\n');
    const cut = lines.pop() ?? '';
    if (!isBegun(cut)) throw new UsageError(`benchmark: ${path} ends in no sample; name another file with --samples`);
    for (const [i, content] of lines.entries()) {
      const { origin, sample } = parseLine(content, `benchmark: line ${i + 1} of ${path}`);
      const match = expected.find(({ task }) => task === origin.task);
      if (match !== undefined && match.items !== origin.items && match.model === origin.model) {
        throw new UsageError(
          `benchmark: ${path} has samples of ${origin.task} from other items, or with another --context or --few-shot-sampler; name another file with --samples`,
        );
      }
      if (match === undefined || match.few_shot !== origin.few_shot || match.model !== origin.model) {
        throw new UsageError(
          `benchmark: ${path} has samples of ${origin.task} with ${origin.few_shot} examples by ${origin.model}; name another file with --samples`,
        );
      }
      const samples = byTask.get(origin.task) ?? [];
      if (sample.doc_id !== samples.length) {
        throw new UsageError(
          `benchmark: line ${i + 1} of ${path} is item ${sample.doc_id} of ${origin.task}; expected ${samples.length}; name another file with --samples`,
        );
      }
      samples.push(sample);
      byTask.set(origin.task, samples);
    }
    if (cut !== '') writeWhole(path, lines.map((content) => `${content}\n`).join(''));
  }
  return {
    earlier: ({ task }) => byTask.get(task) ?? [],
    add: (origin, sample) => appendLine(path, JSON.stringify({ ...origin, ...sample })),
  };
}

/** How `add` begins each line. */
const BEGINNING = '{"task":"';

/** Whether a last line without an end can be a sample of which the rest is missing; anything else is somebody's and stays. */
function isBegun(cut: string): boolean {
  return cut.startsWith(BEGINNING) || BEGINNING.startsWith(cut);
}

function parseLine(content: string, where: string): { origin: SampleOrigin; sample: Sample } {
  let json: unknown = null;
  try {
    json = JSON.parse(content);
  } catch {
    // said below
  }
  const parsed = v.safeParse(line, json);
  if (!parsed.success) throw new UsageError(`${where} is no sample; name another file with --samples`);
  const { task, few_shot, model, items, words, bytes, ...sample } = parsed.output;
  const counts = { ...(words === undefined ? {} : { words }), ...(bytes === undefined ? {} : { bytes }) };
  return { origin: { task, few_shot, model, items }, sample: { ...sample, ...counts } };
}
