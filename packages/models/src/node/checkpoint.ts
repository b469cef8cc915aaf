import { join } from 'node:path';
import type { Tokenizer } from '@lazy-attention/data';
import { castParams, disposeParams, lazyTransformer } from '@lazy-attention/nn';
import { latestCheckpoint, loadCheckpoint } from '@lazy-attention/nn/node';
import { ModelError } from '../errors.ts';
import { readJson } from '../files.ts';
import { checkVocabulary, countTypes, type OpenedModel } from '../open.ts';
import { checkpointModel, readManifest, runTokenizer } from '../run.ts';
import { safetensorsStore } from '../tensors/safetensors.ts';
import { type ClosableFiles, pathFiles } from './files.ts';

/** The newest checkpoint of a run. @throws ModelError MODEL_MISSING when it has none */
export async function openRunFolder(path: string, tokenizer?: Tokenizer): Promise<OpenedModel> {
  const newest = await latestCheckpoint(join(path, 'checkpoints'));
  if (newest === null) throw new ModelError('MODEL_MISSING', path, 'this run has no checkpoint yet; train it first');
  const opened = await openCheckpointFolder(newest, await pathFiles(newest), tokenizer);
  return { ...opened, path, format: 'run' };
}

/** A checkpoint; its tokenizer, where it is not given, is in the record of the run that it lies in. */
export async function openCheckpointFolder(
  path: string,
  files: ClosableFiles,
  given?: Tokenizer,
): Promise<OpenedModel> {
  const config = await readJson(files, 'config.json');
  const { step } = await readManifest(files);
  const model = checkpointModel(`${path}/config.json`, config);
  const tokenizer = given ?? (await tokenizerOfRun(join(path, '..', '..')));
  checkVocabulary(path, model.config, tokenizer);
  return {
    path,
    format: 'checkpoint',
    config: model.config,
    tokenizer,
    step,
    async load(backend, { dtype, weights = 'dense' } = {}) {
      if (weights !== 'dense') {
        throw new ModelError(
          'MODEL_UNSUPPORTED',
          path,
          `weights is '${weights}', but a checkpoint is trained on as it is; write it with export --format hf or gguf first`,
        );
      }
      const { params } = await loadCheckpoint(backend, path, { model, optimizer: false });
      if (dtype === undefined) return { model, params };
      const computeDType = dtype === 'bf16' || dtype === 'f16' ? dtype : null;
      try {
        return {
          model: lazyTransformer({ ...model.config, computeDType }),
          params: castParams(backend, params, dtype),
        };
      } finally {
        disposeParams(params);
      }
    },
    // `load` reads and checks the tensors; a checkpoint that is damaged is told there, with what to do.
    tensors: () => safetensorsStore(files),
    storedTypes: async () => countTypes(await safetensorsStore(files)),
    close: () => files.close(),
  };
}

async function tokenizerOfRun(run: string): Promise<Tokenizer | null> {
  const files = await pathFiles(run);
  try {
    return await runTokenizer(files);
  } finally {
    await files.close();
  }
}
