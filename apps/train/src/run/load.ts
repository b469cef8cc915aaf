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

/** The model of a run's last checkpoint, without optimiser state, and its tokenizer, which may be there. The caller disposes `params`. */
export async function loadTrained(
  backend: Backend,
  folder: RunFolder,
  record: RunRecord,
  tokenizer = tokenizerFromJSON(record.data.tokenizer),
): Promise<TrainedModel> {
  const model = lazyTransformer(record.model);
  const loaded = await loadCheckpoint(backend, await checkpointOf(folder), { model, optimizer: false });
  return { model, params: loaded.params, tokenizer, step: loaded.step };
}
