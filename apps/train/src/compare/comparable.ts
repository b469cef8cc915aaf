import { type TokenizerJSON, tokenizerFromJSON } from '@lazy-attention/data';
import { RunError } from '../errors.ts';
import { flagOf, OPTION_ROWS, recordedValue } from '../options/rows.ts';
import type { TrainingValues } from '../options/table.ts';
import type { RunRecord } from '../run/record.ts';

interface Named {
  readonly name: string;
  readonly record: RunRecord;
}

/**
 * Losses per token can only be set side by side on the same tokens.
 * @throws RunError RUN_DIFFERS that names the two runs and what differs
 */
export function refuseIncomparable(runs: readonly Named[]): void {
  const [first, ...others] = runs;
  for (const other of others) {
    for (const { what, identity, shown } of MUST_AGREE) {
      if (identity(first.record) === identity(other.record)) continue;
      throw new RunError(
        'RUN_DIFFERS',
        `report: ${first.name} and ${other.name} cannot be compared: ${what} is ${shown(first.record)} in the first and ${shown(other.record)} in the second; make a report for each`,
      );
    }
  }
}

interface Agreement {
  readonly what: string;
  readonly identity: (record: RunRecord) => string;
  readonly shown: (record: RunRecord) => string;
}

const MUST_AGREE: readonly Agreement[] = [
  {
    what: 'the tokeniser',
    identity: ({ data }) => JSON.stringify(data.tokenizer),
    shown: ({ data }) => tokenizerName(data.tokenizer),
  },
  {
    what: 'the data',
    identity: ({ data }) => data.fingerprint,
    shown: ({ data }) => `${data.source} (fingerprint ${data.fingerprint})`,
  },
  {
    what: 'the held-out share',
    identity: ({ data }) => String(data.validation),
    shown: ({ data }) => `${100 * data.validation} %`,
  },
];

/** Options that do not tell scenarios apart: in every name, free within a scenario, or without effect on what is computed. */
const APART: readonly (keyof TrainingValues)[] = [
  ...(['preset', 'context', 'attention', 'seed', 'microBatch', 'recompute', 'lossRows', 'shardOptimizer'] as const),
];

/** Settings with a name of their own. */
const NAMED: Readonly<Record<string, (record: RunRecord) => string>> = {
  hidden: ({ model }) => String(model.hiddenSize),
  layers: ({ model }) => String(model.numLayers),
  heads: ({ model }) => `${model.numHeads}/${model.numKvHeads}`,
  'head size': ({ model }) => String(model.headDim),
  MLP: ({ model }) => String(model.intermediateSize),
  window: ({ model }) => String(model.window),
  'tied embeddings': ({ model }) => String(model.tieEmbeddings),
  dtype: ({ model }) => model.computeDType ?? 'f32',
  steps: ({ training }) => String(training.steps),
  batch: ({ training }) => String(training.batch),
  'learning rate': ({ training }) => String(training.learningRate),
  'warm-up': ({ training }) => String(training.warmupSteps),
  floor: ({ training }) => String(training.floor),
  'weight decay': ({ training }) => String(training.weightDecay),
  clip: ({ training }) => String(training.maxNorm),
  // Of a run that was extended.
  'schedule steps': ({ training }) => String(training.scheduleSteps ?? 'all'),
};

/** Options that NAMED has. */
const HAS: readonly (keyof TrainingValues)[] = [
  ...(['width', 'layers', 'heads', 'kvHeads', 'mlpWidth', 'window', 'tie', 'dtype', 'steps', 'batch'] as const),
  ...(['lr', 'warmup', 'floor', 'weightDecay', 'clip'] as const),
];

/** What is the same in all runs of a scenario: every option that decides what is computed, but the kind of attention and the seed. */
const SETTINGS: Readonly<Record<string, (record: RunRecord) => string>> = {
  ...NAMED,
  ...Object.fromEntries(
    OPTION_ROWS.flatMap(([key, option]) => {
      const { recorded, resume } = option;
      if (recorded === null || resume === 'free' || recorded.startsWith('data.')) return [];
      if (APART.includes(key) || HAS.includes(key)) return [];
      return [
        [flagOf(option).slice(2).replaceAll('-', ' '), (record: RunRecord) => shown(recordedValue(option, record))],
      ];
    }),
  ),
};

function shown(value: unknown): string {
  return Array.isArray(value) ? value.join(':') : String(value ?? 'default');
}

/** One name per run; equal names mean that only attention and seed may differ. Settings are named where they tell scenarios apart. */
export function scenarioNames(records: readonly RunRecord[]): string[] {
  const bases = records.map(({ preset, model }) => `${preset}, context ${model.context}`);
  return records.map((record, n) => {
    const namesakes = records.filter((_, other) => bases[other] === bases[n]);
    const telling = Object.entries(SETTINGS).filter(
      ([, of]) => new Set(namesakes.map((namesake) => of(namesake))).size > 1,
    );
    return [bases[n], ...telling.map(([name, of]) => `${name} ${of(record)}`)].join(', ');
  });
}

export function tokenizerName(json: TokenizerJSON): string {
  const { name, fingerprint } = tokenizerFromJSON(json);
  return name === fingerprint ? name : `${name} (${fingerprint})`;
}
