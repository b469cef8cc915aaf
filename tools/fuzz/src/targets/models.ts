import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Backend, createBackend } from '@lazy-attention/core';
import { adamW, disposeParams, type LazyTransformerOptions, lazyTransformer } from '@lazy-attention/nn';
import { loadCheckpoint, loadParams, saveCheckpoint, saveParams } from '@lazy-attention/nn/node';
import { exportModel, OnnxModel } from '@lazy-attention/onnx';
import { oneOf } from '../random.ts';
import { attempt, spoilt } from './file.ts';
import type { Prepared, Target } from './target.ts';

const TINY: LazyTransformerOptions = { vocabSize: 16, hiddenSize: 8, numLayers: 1, numHeads: 2, context: 8 };

/** A folder of files, one of which is spoilt at a time and put back after. */
interface FolderReader {
  readonly name: string;
  write(backend: Backend, folder: string): Promise<void>;
  read(backend: Backend, folder: string): Promise<unknown>;
}

function folderTarget({ name, write, read }: FolderReader): Target {
  return {
    name,
    async prepare(folder): Promise<Prepared> {
      const backend = await createBackend('reference');
      const root = join(folder, name);
      mkdirSync(root);
      await write(backend, root);
      const paths = filesBelow(root);
      const originals = paths.map((path) => new Uint8Array(readFileSync(path)));
      await read(backend, root);
      return {
        attempt: async (random) => {
          const { tensors } = backend.memory();
          const at = oneOf(random, [...paths.keys()]);
          const path = paths[at] as string;
          const original = originals[at] as Uint8Array;
          writeFileSync(path, spoilt(original, /\.jsonl?$/.test(path), random));
          const outcome = await attempt(() => read(backend, root));
          if (!existsSync(root)) throw new Error(`${name}: the folder is gone`);
          writeFileSync(path, original);
          const left = backend.memory().tensors - tensors;
          if (left !== 0) throw new Error(`${name}: ${left} tensors of a refused file are still alive`);
          return outcome;
        },
        close: () => backend.dispose(),
      };
    },
  };
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Readers of parameters, checkpoints and exported models. */
export const MODEL_TARGETS: readonly Target[] = [
  folderTarget({
    name: 'safetensors',
    async write(backend, folder) {
      const params = lazyTransformer(TINY).init(backend, 1);
      await saveParams(join(folder, 'model.safetensors'), params);
      disposeParams(params);
    },
    async read(backend, folder) {
      disposeParams(await loadParams(backend, join(folder, 'model.safetensors')));
    },
  }),
  folderTarget({
    name: 'checkpoint',
    async write(backend, folder) {
      const model = lazyTransformer(TINY);
      const params = model.init(backend, 1);
      const optimizer = adamW(backend, params);
      await saveCheckpoint(folder, { model, params, optimizer, step: 3, state: { sampler: [1, 2, 3] } });
      optimizer.dispose();
      disposeParams(params);
    },
    async read(backend, folder) {
      const loaded = await loadCheckpoint(backend, join(folder, readdirSync(folder)[0] as string));
      disposeParams(loaded.params);
      if (loaded.optimizer === null) return;
      disposeParams(loaded.optimizer.m);
      disposeParams(loaded.optimizer.v);
    },
  }),
  folderTarget({
    name: 'onnx',
    async write(backend, folder) {
      const model = lazyTransformer(TINY);
      const params = model.init(backend, 1);
      await exportModel({ out: join(folder, 'model.onnx'), config: model.config, params });
      disposeParams(params);
    },
    async read(_backend, folder) {
      const model = await OnnxModel.create({ file: join(folder, 'model.onnx') });
      await model.forward(Int32Array.of(1, 2, 3), 1);
      await model.dispose();
    },
  }),
];
