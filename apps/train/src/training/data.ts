import { resolve } from 'node:path';
import {
  type Dataset,
  type DatasetOptions,
  type Framing,
  isUrl,
  loadDataset,
  openCorpus,
  TASKS,
  type TaskName,
  taskDataset,
  tokenizerFromJSON,
} from '@lazy-attention/data';
import { RunError, UsageError } from '../errors.ts';
import type { PlanOptions } from '../options/table.ts';
import { count } from '../output/format.ts';
import type { DataRecord, RunRecord } from '../run/record.ts';
import { cachedStore } from './cache.ts';

/** The embedded corpus, by name; everything else is a path, kept absolute so that a run can be resumed from anywhere. */
export const EMBEDDED = 'moby-dick';

/** Milliseconds of reading about which nothing is said. */
const SILENCE = 3000;

/** `--bos` and `--eos` as the data package has them. */
export function framingOf({ bos, eos }: Pick<PlanOptions, 'bos' | 'eos'>): Framing {
  const token = (said: string | undefined) => (said === 'none' ? null : said === 'own' ? undefined : said);
  return { bos: token(bos), eos: token(eos) };
}

export function absoluteSource(source: string): string {
  return source === EMBEDDED || isTask(source) || isUrl(source) ? source : resolve(source);
}

/** How reading is followed and stopped: `onProgress` is told of it, an abort of `signal` rejects with its reason. */
export interface Reading extends Pick<DatasetOptions, 'onProgress' | 'signal'> {
  /** Large data is tokenised once, into a store that later runs use again; is told of it. Left out: all in memory. */
  readonly cache?: (line: string) => void;
}

/** Says how far reading is when it takes more than a moment. */
export function sayProgress(say: (line: string) => void): NonNullable<Reading['onProgress']> {
  let saidAt = performance.now();
  return ({ bytes, tokens }) => {
    const now = performance.now();
    if (now - saidAt < SILENCE) return;
    saidAt = now;
    say(`Reading: ${(bytes / 1e6).toFixed(0)} MB of text, ${count(tokens)} tokens so far`);
  };
}

/** Loads the data that a run was started on. @throws RunError when it has changed since */
export async function loadRunData(record: RunRecord, reading: Reading = {}): Promise<Dataset> {
  const { data, model } = record;
  const dataset = await openDataset(data.source, data.options, {
    context: model.context,
    tokenizer: tokenizerFromJSON(data.tokenizer),
    validation: data.validation,
    ...reading,
  });
  if (dataset.fingerprint !== data.fingerprint) {
    throw new RunError(
      'RUN_DIFFERS',
      `run: ${data.source} is no longer the data that this run was started on (fingerprint ${dataset.fingerprint}, then ${data.fingerprint}); restore the data, or start a new run`,
    );
  }
  return dataset;
}

/**
 * Loads a corpus, or makes a synthetic task.
 * @throws UsageError for an option that has no use for it
 */
export async function openDataset(
  source: string,
  options: DataRecord['options'],
  { cache, ...rest }: Pick<DatasetOptions, 'context' | 'validation' | 'tokenizer' | 'bos' | 'eos'> & Reading,
): Promise<Dataset> {
  if (source === '-') {
    throw new UsageError(
      'train: standard input cannot be read again when the run is resumed; make a store of it: lazy-attention tokenize - --out STORE, then train STORE',
    );
  }
  if (!isTask(source)) {
    refuseOptions(source, options, { triggers: '--triggers', markerPositions: '--markers', text: '--task-text' });
    const { triggers, markerPositions, text, ...place } = options;
    const reading = place as Pick<DatasetOptions, 'format' | 'field' | 'column'>;
    const store = cache === undefined ? null : await cachedStore(source, reading, rest, cache);
    if (store === null) return loadDataset(source, { ...reading, ...rest });
    const { context, validation, tokenizer } = rest;
    const own = tokenizer === undefined || typeof tokenizer === 'string' ? {} : { tokenizer };
    return loadDataset(store, { context, ...(validation === undefined ? {} : { validation }), ...own });
  }
  refuseOptions(source, options, { format: '--format', field: '--field', column: '--column' });
  const { triggers, markerPositions, text = EMBEDDED } = options;
  const { context, validation } = rest;
  return taskDataset(source, await openCorpus(text), { context, validation, triggers, markerPositions });
}

/** Whether a source is the name of a synthetic task. */
export function isTask(source: string): source is TaskName {
  return (TASKS as readonly string[]).includes(source);
}

function refuseOptions(source: string, options: DataRecord['options'], flags: Readonly<Record<string, string>>): void {
  for (const [name, flag] of Object.entries(flags)) {
    if ((options as Record<string, unknown>)[name] !== undefined) {
      throw new UsageError(`train: ${flag} has no use for ${source}; leave it out`);
    }
  }
}
