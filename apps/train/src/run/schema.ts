import { LazyAttentionError } from '@lazy-attention/core';
import { lazyTransformer } from '@lazy-attention/nn';
import * as v from 'valibot';
import type { ComparePlan } from '../compare/compare-plan.ts';
import { RunError } from '../errors.ts';
import { sectionSchemas } from '../options/rows.ts';
import { KINDS, LONGEST_AXIS, presetName, TRAINING_OPTIONS } from '../options/table.ts';
import { checked, choices, integer, text } from '../options/values.ts';
import type { EvalMetric, TrainMetric } from './metric.ts';
import { RUN_VERSION, type RunRecord } from './record.ts';

/** Most layers, heads and entries of a vocabulary of a model in a file: far above any model, and small enough to be looked at. */
const MOST = { layers: 4096, heads: 4096, width: 2 ** 20, vocabulary: 2 ** 24 };

const words = checked('a text', (x): x is string => typeof x === 'string');
const finite = checked('a finite number', (x): x is number => typeof x === 'number' && Number.isFinite(x));
const notNegative = checked('a number of at least 0', (x): x is number => Number.isFinite(x) && (x as number) >= 0);
const wordsOrNull = checked('a text or null', (x): x is string | null => x === null || typeof x === 'string');

/** Sizes are bounded here, before anything is computed from them; `lazyTransformer` checks the rest. */
const model = v.looseObject({
  context: TRAINING_OPTIONS.context.value.schema,
  window: TRAINING_OPTIONS.window.value.schema,
  vocabSize: integer(1, MOST.vocabulary).schema,
  hiddenSize: integer(1, MOST.width).schema,
  numLayers: integer(1, MOST.layers).schema,
  numHeads: integer(1, MOST.heads).schema,
  numKvHeads: integer(1, MOST.heads).schema,
  headDim: integer(1, LONGEST_AXIS).schema,
  intermediateSize: integer(1, MOST.width).schema,
  attention: text.schema,
});

const tokenizer = v.variant('kind', [
  v.object({
    kind: v.literal('bytes'),
    documentSeparator: v.union([v.boolean(), v.picklist(['before', 'after'])]),
  }),
  v.object({
    kind: v.literal('tokenizer.json'),
    name: words,
    tokenizer: v.looseObject({}),
    config: v.nullable(v.looseObject({})),
    bosToken: wordsOrNull,
    eosToken: wordsOrNull,
    padToken: wordsOrNull,
  }),
]);

/** Training, which of an extended run has the steps of its schedule, too. */
function withSchedule(training: Record<string, v.GenericSchema>): Record<string, v.GenericSchema> {
  return { ...training, scheduleSteps: v.optional(integer(1).schema) };
}

const record = v.object({
  version: integer(1).schema,
  createdAt: words,
  command: words,
  preset: presetName,
  model,
  data: v.object({
    source: text.schema,
    options: v.partial(v.object(sectionSchemas('data.options'))),
    tokenizer,
    fingerprint: text.schema,
    ...sectionSchemas('data'),
  }),
  training: v.pipe(
    v.object(withSchedule(sectionSchemas('training'))),
    v.forward(
      v.check(({ warmupSteps, steps }) => (warmupSteps as number) <= (steps as number), 'no more than training.steps'),
      ['warmupSteps'],
    ),
    v.forward(
      v.check(
        ({ batch, microBatch }) => microBatch === undefined || (batch as number) % (microBatch as number) === 0,
        'a divisor of training.batch',
      ),
      ['microBatch'],
    ),
  ),
  start: v.optional(v.partial(v.object(sectionSchemas('start')))),
  rhythm: v.object(sectionSchemas('rhythm')),
  sample: v.object(sectionSchemas('sample')),
  environment: v.object({
    backend: text.schema,
    device: words,
    node: words,
    platform: words,
    version: v.optional(words),
    commit: v.optional(wordsOrNull),
  }),
});

/** Most runs of one kind in a comparison. */
export const MOST_SEEDS = 1000;

const seeds = checked(
  `1 to ${MOST_SEEDS} different integers of at least 0`,
  (x): x is number[] =>
    Array.isArray(x) &&
    x.length >= 1 &&
    x.length <= MOST_SEEDS &&
    new Set(x).size === x.length &&
    x.every((seed) => Number.isSafeInteger(seed) && seed >= 0),
);

const plan = v.object({ version: integer(1).schema, record, attentions: choices(KINDS).schema, seeds });

const metric = v.variant('type', [
  v.object({
    type: v.literal('train'),
    step: integer(1).schema,
    loss: finite,
    learningRate: notNegative,
    gradNorm: notNegative,
    tokensPerSecond: notNegative,
    seconds: notNegative,
  }),
  v.object({
    type: v.literal('eval'),
    step: integer(0).schema,
    last: v.optional(v.literal(true)),
    on: checked("'validation' or 'train'", (x): x is EvalMetric['on'] => x === 'validation' || x === 'train'),
    loss: finite,
    perplexity: notNegative,
    bitsPerByte: finite,
    sparsity: v.optional(finite),
    firstTokenWeight: v.optional(finite),
    sinkRate: v.optional(finite),
  }),
]);

/** run.json from parsed JSON. @throws RunError RUN_RECORD or RUN_VERSION that names file, field, value and what was expected */
export function checkRecord(path: string, value: unknown): RunRecord {
  checkVersion(path, value, RUN_VERSION);
  return withModel(path, check(path, record, value) as unknown as RunRecord);
}

/** compare.json from parsed JSON. @throws RunError as `checkRecord` */
export function checkPlan(path: string, value: unknown, version: number): ComparePlan {
  checkVersion(path, value, version);
  const found = check(path, plan, value) as unknown as ComparePlan;
  checkVersion(path, found.record, RUN_VERSION);
  return { ...found, record: withModel(path, found.record) };
}

/** A line of metrics.jsonl from parsed JSON, or null when it is none. */
export function checkMetric(value: unknown): TrainMetric | EvalMetric | null {
  const result = v.safeParse(metric, value, { abortEarly: true });
  return result.success ? (result.output as TrainMetric | EvalMetric) : null;
}

function checkVersion(path: string, value: unknown, known: number): void {
  const version = (value as { version?: unknown } | null)?.version;
  if (typeof value !== 'object' || !Number.isInteger(version)) {
    throw new RunError('RUN_RECORD', `run: ${path} is damaged: expected an object with a version`);
  }
  if ((version as number) > known) {
    throw new RunError(
      'RUN_VERSION',
      `run: ${path} has version ${version}; this program knows up to ${known}; upgrade lazy-attention`,
    );
  }
}

function check<T>(path: string, schema: v.GenericSchema<unknown, T>, value: unknown): T {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const where = v.getDotPath(issue);
  const found = shown(issue.input);
  // valibot's own messages begin with "Invalid ...: Expected ..."; those of `checked` are what was expected.
  const expected = issue.message.replace(/^Invalid.*: Expected (.*) but received .*$/, '$1');
  throw new RunError(
    'RUN_RECORD',
    `run: ${path} is damaged: ${where === null ? 'it' : where} is ${found}; expected ${expected}`,
  );
}

/** The record with its model as `lazyTransformer` understands it. */
function withModel(path: string, found: RunRecord): RunRecord {
  try {
    return { ...found, model: lazyTransformer(found.model).config };
  } catch (error) {
    if (!(error instanceof LazyAttentionError)) throw error;
    throw new RunError('RUN_RECORD', `run: ${path} is damaged: its model: ${error.message}`, { cause: error });
  }
}

function shown(value: unknown): string {
  const json = value === undefined ? 'missing' : JSON.stringify(value);
  return json.length > 80 ? `${json.slice(0, 80)}…` : json;
}
