import type { Backend } from '@lazy-attention/core';
import { type Tokenizer, tokenizerFromJSON } from '@lazy-attention/data';
import { type LazyTransformer, lazyTransformer, type Params } from '@lazy-attention/nn';
import { loadCheckpoint } from '@lazy-attention/nn/node';
import { checkpointOf, type RunFolder } from './folder.ts';
import type { RunRecord } from './record.ts';

/** A trained model on a backend, ready to write. */
export interface TrainedModel {
  /** As it was trained. */
  readonly model: LazyTransformer;
  /** Its parameters; the caller disposes them. */
  readonly params: Params;
  /** That of its training. */
  readonly tokenizer: Tokenizer;
  /** Training steps that are in it. */
  readonly step: number;
}

/** What `loadTrained` need not find out. */
export interface LoadTrainedOptions {
  /** That of the record, where it has been made already. */
  readonly tokenizer?: Tokenizer;
  /** Path of one of the run's checkpoints; left out: its last. */
  readonly checkpoint?: string;
}

/** The model of a run's checkpoint, without optimiser state, and its tokenizer. The caller disposes `params`. */
export async function loadTrained(
  backend: Backend,
  folder: RunFolder,
  record: RunRecord,
  { tokenizer = tokenizerFromJSON(record.data.tokenizer), checkpoint }: LoadTrainedOptions = {},
): Promise<TrainedModel> {
  const model = lazyTransformer(record.model);
  const path = checkpoint ?? (await checkpointOf(folder));
  const loaded = await loadCheckpoint(backend, path, { model, optimizer: false });
  return { model, params: loaded.params, tokenizer, step: loaded.step };
}
