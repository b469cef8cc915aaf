import { existsSync } from 'node:fs';
import type { AttentionSummary } from '@lazy-attention/analysis';
import type { ReportData, ReportRun } from '@lazy-attention/analysis/report';
import { type Backend, createBackend } from '@lazy-attention/core';
import { type Dataset, validationBatches } from '@lazy-attention/data';
import { attentionKind, disposeParams, parameterCount } from '@lazy-attention/nn';
import { latestCheckpoint } from '@lazy-attention/nn/node';
import { readText } from '../run/files.ts';
import { openRun, type RunFolder } from '../run/folder.ts';
import { loadTrained } from '../run/load.ts';
import { readMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { loadRunData } from '../training/data.ts';
import { evaluationOf, measureAttention } from '../training/evaluate.ts';
import { refuseIncomparable, scenarioNames, tokenizerName } from './comparable.ts';
import { isCompareFolder, openCompare, plannedRuns, shownPath } from './plan.ts';

/** What the heads do, and the text under their maps. */
export interface Measured {
  /** With maps; null for a kind of attention that has no weights. */
  readonly attention: AttentionSummary | null;
  /** Tokens under the maps, as text. */
  readonly mapTokens: readonly string[];
}

/** First tokens of the held-out text that attention maps show. */
export const MAP_LENGTH = 48;

interface Source {
  readonly name: string;
  readonly folder: RunFolder;
  readonly record: RunRecord;
}

export interface CollectOptions {
  readonly title: string;
  readonly command: string;
  /** Name for `createBackend`, or one that is there. Only used when there is a checkpoint to measure. */
  readonly backend: string | Backend;
  /** Measure attention from the checkpoints; without it only curves and final figures. */
  readonly measure: boolean;
  /** Path of the event stream of a run that is still training. */
  readonly live?: string;
  /** What was measured of the run that is still training. */
  readonly measured?: Measured | null;
  readonly onMeasure?: (name: string) => void;
}

/**
 * Everything a report needs, from run folders and comparison folders. What is missing or cut short becomes a note.
 * @throws RunError for a folder that is no run, and for runs that cannot be compared
 */
export async function collectReport(paths: readonly string[], options: CollectOptions): Promise<ReportData> {
  const notes: string[] = [];
  const sources = paths.flatMap((path) => openSources(path, notes));
  refuseIncomparable(sources);
  const scenarios = scenarioNames(sources.map(({ record }) => record));
  const datasets = new Map<string, Promise<Dataset>>();
  const dataOf = (record: RunRecord) => {
    const key = JSON.stringify([record.data, record.model.context]);
    const found = datasets.get(key) ?? loadRunData(record);
    datasets.set(key, found);
    return found;
  };
  let backend: Backend | null = typeof options.backend === 'string' ? null : options.backend;
  const runs: ReportRun[] = [];
  try {
    for (const [n, source] of sources.entries()) {
      const run = { ...readRun(source, scenarios[n], options.live === undefined ? notes : []), ...options.measured };
      const hasCheckpoint = (await latestCheckpoint(source.folder.checkpoints)) !== null;
      if (!options.measure || !hasCheckpoint) {
        if (options.measure) notes.push(`${source.name} has no checkpoint: its attention could not be measured`);
        runs.push(run);
        continue;
      }
      options.onMeasure?.(source.name);
      if (backend === null) backend = await createBackend(options.backend as string);
      runs.push({ ...run, ...(await measure(backend, source, await dataOf(source.record))) });
    }
  } finally {
    if (typeof options.backend === 'string') await backend?.dispose();
  }
  return {
    title: options.title,
    generatedAt: new Date().toISOString(),
    command: options.command,
    environment: environmentOf(sources.map(({ record }) => record)),
    notes,
    runs: distinctArms(runs),
    ...(options.live === undefined ? {} : { live: options.live }),
  };
}

/** The run in a folder, or those of a comparison that have been begun. */
function openSources(path: string, notes: string[]): Source[] {
  if (!isCompareFolder(path)) return [{ name: shownPath(path), ...openRun(path) }];
  const planned = plannedRuns(path, openCompare(path));
  const begun = planned.filter(({ folder }) => existsSync(folder.record));
  if (begun.length < planned.length) {
    notes.push(
      `${shownPath(path)} is not complete: ${planned.length - begun.length} of ${planned.length} runs have not begun; go on with: lazy-attention compare --resume --out ${shownPath(path)}`,
    );
  }
  return begun.map(({ folder }) => ({ name: shownPath(folder.path), ...openRun(folder.path) }));
}

/** What the files of a run say, without its checkpoints. */
function readRun({ name, folder, record }: Source, scenario: string, notes: string[]): ReportRun {
  const { metrics, warning } = readMetrics(folder.metrics);
  if (warning !== null) notes.push(warning.replace(folder.path, name));
  const training = metrics.filter((metric) => metric.type === 'train');
  const validation = metrics.filter((metric) => metric.type === 'eval');
  const stepsDone = training.at(-1)?.step ?? 0;
  const { steps } = record.training;
  // Or where --stop-after ended it.
  const last = validation.findLast(({ step, last = false }) => step === steps || (last && step === stepsDone));
  if (stepsDone === 0) notes.push(`${name} has no metrics yet`);
  else if (last === undefined) {
    notes.push(
      stepsDone < steps
        ? `${name} stopped at step ${stepsDone} of ${steps}: its figures are of an unfinished model`
        : `${name} was stopped before its last evaluation: resume it for the final loss`,
    );
  }
  return {
    scenario,
    arm: attentionKind(record.model.attention).label,
    kind: record.model.attention,
    seed: record.training.seed,
    name,
    command: record.command,
    parameters: parameterCount(record.model),
    steps,
    stepsDone,
    tokensPerStep: record.training.batch * record.model.context,
    seconds: training.at(-1)?.seconds ?? 0,
    training: training.map(({ step, loss }) => ({ step, loss })),
    validation: validation.map(({ step, loss }) => ({ step, loss })),
    final: last === undefined ? null : { loss: last.loss, perplexity: last.perplexity, bitsPerByte: last.bitsPerByte },
    attention: null,
    mapTokens: [],
    sample: existsSync(folder.sample) ? readText(folder.sample, 'RUN_RECORD').trimEnd() : null,
  };
}

async function measure(backend: Backend, { folder, record }: Source, dataset: Dataset): Promise<Measured> {
  const split = dataset.validation ?? dataset.train;
  const length = Math.min(MAP_LENGTH, record.model.context);
  const { model, params } = await loadTrained(backend, folder, record);
  try {
    const attention = await measureAttention(backend, model, params, split, {
      ...evaluationOf(record),
      maps: { length },
    });
    return { attention, mapTokens: mapTokens(dataset, record) };
  } finally {
    disposeParams(params);
  }
}

/** The tokens under the maps as text, each by itself; a byte in the middle of a character shows as a replacement mark. */
export function mapTokens(dataset: Dataset, { model: { context } }: RunRecord): string[] {
  const { tokenizer } = dataset;
  const [first] = validationBatches(dataset.validation ?? dataset.train, { context, batch: 1, maxWindows: 1 });
  return Array.from(first.tokens.subarray(0, Math.min(MAP_LENGTH, context)), (token) => tokenizer.decode([token]));
}

/** Two runs of one scenario, kind and seed would be averaged as if they were seeds: their names keep them apart. */
function distinctArms(runs: readonly ReportRun[]): ReportRun[] {
  const key = (run: ReportRun) => JSON.stringify([run.scenario, run.arm, run.seed]);
  const repeated = new Set(
    runs
      .filter((run, n) => runs.findIndex((other) => key(other) === key(run)) !== n)
      .map((run) => `${run.scenario}\n${run.arm}`),
  );
  return runs.map((run) =>
    repeated.has(`${run.scenario}\n${run.arm}`) ? { ...run, arm: `${run.arm} (${run.name})` } : run,
  );
}

function environmentOf(records: readonly RunRecord[]): [string, string][] {
  const all = (of: (record: RunRecord) => string) => [...new Set(records.map(of))].join('; ');
  return [
    ['Backend', all(({ environment }) => environment.backend)],
    ['Device', all(({ environment }) => environment.device)],
    ['Node.js', all(({ environment }) => `${environment.node}, ${environment.platform}`)],
    ['Data', all(({ data }) => `${data.source}, fingerprint ${data.fingerprint}`)],
    ['Tokeniser', all(({ data }) => tokenizerName(data.tokenizer))],
    ['Held out', all(({ data }) => `${100 * data.validation} %`)],
    [
      'Training',
      all(
        ({ training, model }) =>
          `${training.steps} steps of ${training.batch} x ${model.context} tokens, AdamW, peak learning rate ${training.learningRate}, warm-up ${training.warmupSteps}`,
      ),
    ],
  ];
}
