import type { Dataset } from '@lazy-attention/data';
import { writeWhole } from '../run/files.ts';
import type { RunFolder } from '../run/folder.ts';
import { sampleOf } from './samples.ts';
import type { TrainOutcome } from './train.ts';

export interface Finished {
  readonly prompt: string;
  /** The prompt and what the model wrote after it. */
  readonly sample: string;
  /** summary.json without the figures of single heads. */
  readonly summary: object;
}

/**
 * Lets a trained model write a sample, and puts sample.txt and summary.json, which say that a run is done, into
 * its folder. @throws an AbortError after an abort of `signal`; nothing is written then
 */
export async function finishRun(
  { session, evaluation }: TrainOutcome,
  folder: RunFolder,
  dataset: Dataset,
  signal?: AbortSignal,
): Promise<Finished> {
  const { prompt } = session.record.sample;
  const sample = await sampleOf(session, dataset, signal);
  writeWhole(folder.sample, `${sample}\n`);
  const summary = { step: session.step, ...evaluation?.headline, sample, folder: folder.path };
  // Maps are for a live page; the report measures them anew.
  const attention = evaluation?.attention == null ? null : { ...evaluation.attention, maps: [] };
  writeWhole(folder.summary, `${JSON.stringify({ ...summary, attention }, null, 2)}\n`);
  return { prompt, sample, summary };
}
