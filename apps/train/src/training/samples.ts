import { existsSync } from 'node:fs';
import type { Dataset } from '@lazy-attention/data';
import { appendLine, readText, writeWhole } from '../run/files.ts';
import { collect, continueText, onBackend } from './sample.ts';
import type { Session } from './session.ts';

/** A line of samples.jsonl: what the model wrote while it was trained. */
export interface TrainingSample {
  /** Training steps before it. */
  readonly step: number;
  /** The run's prompt and what came after it. */
  readonly text: string;
}

/** The run's prompt and what its model writes after it. @throws an AbortError after an abort of `signal` */
export async function sampleOf(
  { backend, model, params, record }: Session,
  { tokenizer }: Dataset,
  signal?: AbortSignal,
): Promise<string> {
  const { prompt, tokens } = record.sample;
  const pieces = continueText(onBackend(backend, model, params), tokenizer, prompt, {
    maxNewTokens: tokens,
    temperature: 0.8,
    topK: 40,
    seed: record.training.seed,
    ...(signal === undefined ? {} : { signal }),
  });
  const text = prompt + (await collect(pieces));
  signal?.throwIfAborted();
  return text;
}

/** Adds a line to samples.jsonl. */
export function appendSample(path: string, sample: TrainingSample): void {
  appendLine(path, JSON.stringify(sample));
}

/**
 * Forgets the samples after `step`, the last checkpoint, which a resumed run writes again, and one that a kill cut. What is no sample
 * is somebody's, and stays.
 */
export function truncateSamples(path: string, step: number): void {
  if (!existsSync(path)) return;
  const text = readText(path, 'RUN_METRICS');
  const lines = text.split('\n');
  const cut = lines.pop() ?? '';
  const kept = lines.filter((line) => stepOf(line) <= step);
  if (cut !== '' && !isBegun(cut)) kept.push(cut);
  const whole = kept.map((line) => `${line}\n`).join('');
  if (whole !== text) writeWhole(path, whole);
}

/** How `appendSample` begins each line. */
const BEGINNING = '{"step":';

function isBegun(line: string): boolean {
  return line.startsWith(BEGINNING) || BEGINNING.startsWith(line);
}

/** Before all steps for a line that is no sample. */
function stepOf(line: string): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return isBegun(line) && typeof step === 'number' ? step : Number.NEGATIVE_INFINITY;
  } catch {
    return Number.NEGATIVE_INFINITY;
  }
}
