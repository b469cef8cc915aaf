import { resolve } from 'node:path';
import { type Dataset, type DatasetOptions, loadDataset, tokenizerFromJSON } from '@lazy-attention/data';
import { RunError } from '../errors.ts';
import type { DataRecord, RunRecord } from '../run/record.ts';

/** The embedded corpus, by name; everything else is a path, kept absolute so that a run can be resumed from anywhere. */
export const EMBEDDED = 'moby-dick';

export function absoluteSource(source: string): string {
  return source === EMBEDDED ? source : resolve(source);
}

/** Loads the data that a run was started on. @throws RunError when it has changed since */
export async function loadRunData(record: RunRecord, onProgress?: DatasetOptions['onProgress']): Promise<Dataset> {
  const { data, model } = record;
  const dataset = await loadDataset(data.source, {
    ...readOptions(data.options),
    context: model.context,
    tokenizer: tokenizerFromJSON(data.tokenizer),
    validation: data.validation,
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  if (dataset.fingerprint !== data.fingerprint) {
    throw new RunError(
      'RUN_DIFFERS',
      `run: ${data.source} is no longer the data that this run was started on (fingerprint ${dataset.fingerprint}, then ${data.fingerprint}); restore the data, or start a new run`,
    );
  }
  return dataset;
}

export function readOptions(options: DataRecord['options']): Pick<DatasetOptions, 'format' | 'field' | 'column'> {
  return options as Pick<DatasetOptions, 'format' | 'field' | 'column'>;
}
