import type { Backend } from '@lazy-attention/core';
import { type Tokenizer, tokenizerFromJSON } from '@lazy-attention/data';
import { type LazyTransformer, lazyTransformer, type Params } from '@lazy-attention/nn';
import { loadCheckpoint } from '@lazy-attention/nn/node';
import { checkpointOf, type RunFolder } from './folder.ts';
import type { RunRecord } from './record.ts';

export interface TrainedModel {
  readonly model: LazyTransformer;
  readonly params: Params;
  readonly tokenizer: Tokenizer;
  readonly step: number;
}

/** The model of a run's last checkpoint, without optimiser state. The caller disposes `params`. */
export async function loadTrained(backend: Backend, folder: RunFolder, record: RunRecord): Promise<TrainedModel> {
  const model = lazyTransformer(record.model);
  const loaded = await loadCheckpoint(backend, await checkpointOf(folder), { model, optimizer: false });
  return { model, params: loaded.params, tokenizer: tokenizerFromJSON(record.data.tokenizer), step: loaded.step };
}
