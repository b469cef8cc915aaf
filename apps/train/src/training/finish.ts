import { writeFileSync } from 'node:fs';
import type { Dataset } from '@lazy-attention/data';
import { writeError, writeWhole } from '../run/files.ts';
import type { RunFolder } from '../run/folder.ts';
import { collect, continueText, onBackend } from './sample.ts';
import type { TrainOutcome } from './train.ts';

export interface Finished {
  readonly prompt: string;
  /** The prompt and what the model wrote after it. */
  readonly sample: string;
  /** summary.json without the figures of single heads. */
  readonly summary: object;
}

/** Lets a trained model write a sample, and puts sample.txt and summary.json, which say that a run is done, into its folder. */
export async function finishRun(
  { session, evaluation }: TrainOutcome,
  folder: RunFolder,
  dataset: Dataset,
  options: { readonly prompt?: string | undefined; readonly sampleTokens: number },
): Promise<Finished> {
  const prompt = options.prompt ?? defaultPrompt(dataset);
  const pieces = continueText(onBackend(session.backend, session.model, session.params), dataset.tokenizer, prompt, {
    maxNewTokens: options.sampleTokens,
    temperature: 0.8,
    topK: 40,
    seed: session.record.training.seed,
  });
  const sample = prompt + (await collect(pieces));
  try {
    writeFileSync(folder.sample, `${sample}\n`);
  } catch (error) {
    throw writeError(folder.sample, error);
  }
  const summary = { step: session.step, ...evaluation?.headline, sample, folder: folder.path };
  writeWhole(folder.summary, `${JSON.stringify({ ...summary, attention: evaluation?.attention }, null, 2)}\n`);
  return { prompt, sample, summary };
}

/** The first held-out words, so that what follows can be compared with what really follows. */
function defaultPrompt(dataset: Dataset): string {
  const split = dataset.validation ?? dataset.train;
  const from = split.segmentStarts[0];
  const tokens = new Int32Array(Math.min(48, split.length));
  split.store.read(from, tokens.length, tokens, 0);
  const text = dataset.tokenizer.decode(tokens).replace(/\s+/g, ' ').trimStart();
  const lastSpace = text.lastIndexOf(' ');
  return lastSpace > 0 ? text.slice(0, lastSpace) : text;
}
