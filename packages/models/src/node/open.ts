import { ValueError } from '@lazy-attention/core';
import type { Tokenizer } from '@lazy-attention/data';
import { type OpenedModel, openModelFiles } from '../open.ts';
import { CHECKPOINT, RUN } from '../run.ts';
import { openCheckpointFolder, openRunFolder } from './checkpoint.ts';
import { pathFiles } from './files.ts';

/** What `openModel` need not find out. */
export interface OpenModelOptions {
  /** Of a run, or of a checkpoint: its tokenizer, by whoever has read the run's record already. Left out: it is read. */
  readonly tokenizer?: Tokenizer;
}

/**
 * Opens a model: a run folder (its newest checkpoint), a checkpoint in it, a Hugging Face or fla folder, or a .gguf file. Headers,
 * configuration and names are checked here; weights are read by `load`. The caller closes it.
 * @throws ModelError with the file, the key or tensor, and the fix; ValueError for a tokenizer where the model has its own
 */
export async function openModel(path: string, { tokenizer }: OpenModelOptions = {}): Promise<OpenedModel> {
  const files = await pathFiles(path);
  try {
    if (files.names.includes(RUN)) return await openRunFolder(path, tokenizer);
    if (files.names.includes(CHECKPOINT)) return await openCheckpointFolder(path, files, tokenizer);
    if (tokenizer !== undefined) {
      throw new ValueError(`openModel: ${path} has a tokenizer of its own; leave the option tokenizer out`);
    }
    return { ...(await openModelFiles(files)), close: () => files.close() };
  } catch (error) {
    await files.close();
    throw error;
  }
}
