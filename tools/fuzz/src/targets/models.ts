import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Backend, createBackend } from '@lazy-attention/core';
import { openModel, writeModel } from '@lazy-attention/models/node';
import {
  adamW,
  disposeParams,
  encodeSafetensors,
  type LazyTransformerOptions,
  lazyTransformer,
} from '@lazy-attention/nn';
import { loadCheckpoint, loadParams, saveCheckpoint, saveParams } from '@lazy-attention/nn/node';
import { exportModel, OnnxModel } from '@lazy-attention/onnx';
import { mutateHeader } from '../mutate/safetensors.ts';
import { oneOf, type Random } from '../random.ts';
import { attempt, spoilt } from './file.ts';
import { sealCheckpoint, spoilOnnx } from './sealed.ts';
import type { Prepared, Target } from './target.ts';

const TINY: LazyTransformerOptions = { vocabSize: 16, hiddenSize: 8, numLayers: 1, numHeads: 2, context: 8 };

/** A folder of files, one of which is spoilt at a time and put back after. */
interface FolderReader {
  readonly name: string;
  write(backend: Backend, folder: string): Promise<void>;
  read(backend: Backend, folder: string): Promise<unknown>;
  /** Of files with digests: spoils the file at `path` and makes the digests right again. */
  spoilSealed?(path: string, original: Uint8Array, random: Random): void;
}

/** Of the cases of a reader that checks digests, those whose digests are right. */
const SEALED = 0.7;

function folderTarget({ name, write, read, spoilSealed }: FolderReader): Target {
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
          if (spoilSealed !== undefined && random() < SEALED) spoilSealed(path, original, random);
          else writeFileSync(path, spoiltFile(path, original, random));
          const outcome = await attempt(() => read(backend, root));
          if (!existsSync(root)) throw new Error(`${name}: the folder is gone`);
          for (const [i, each] of paths.entries()) writeFileSync(each, originals[i] as Uint8Array);
          const left = backend.memory().tensors - tensors;
          if (left !== 0) throw new Error(`${name}: ${left} tensors of a refused file are still alive`);
          return outcome;
        },
        close: () => backend.dispose(),
      };
    },
  };
}

/** With mistakes in the values of JSON, also of a safetensors file's header, or in bytes. */
function spoiltFile(path: string, original: Uint8Array, random: Random): Uint8Array {
  const header = path.endsWith('.safetensors') && random() < 0.5 ? mutateHeader(original, random) : null;
  return header ?? spoilt(original, /\.jsonl?$/.test(path), random);
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

const HF_CONFIG = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 8,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 16,
  max_position_embeddings: 8,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: { rope_type: 'linear', factor: 2 },
  tie_word_embeddings: true,
};
const HF_SHAPES: Readonly<Record<string, readonly number[]>> = {
  'model.embed_tokens.weight': [16, 8],
  'model.layers.0.input_layernorm.weight': [8],
  'model.layers.0.self_attn.q_proj.weight': [8, 8],
  'model.layers.0.self_attn.k_proj.weight': [4, 8],
  'model.layers.0.self_attn.v_proj.weight': [4, 8],
  'model.layers.0.self_attn.o_proj.weight': [8, 8],
  'model.layers.0.post_attention_layernorm.weight': [8],
  'model.layers.0.mlp.gate_proj.weight': [64, 8],
  'model.layers.0.mlp.up_proj.weight': [64, 8],
  'model.layers.0.mlp.down_proj.weight': [8, 64],
  'model.norm.weight': [8],
};

function writeHuggingFace(folder: string): void {
  const tensors = Object.entries(HF_SHAPES).map(([name, shape]) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1);
    return [name, { dtype: 'f32' as const, shape, data }] as const;
  });
  writeFileSync(join(folder, 'model.safetensors'), encodeSafetensors(Object.fromEntries(tensors)));
  writeFileSync(join(folder, 'config.json'), JSON.stringify(HF_CONFIG));
}

async function loadOpened(backend: Backend, path: string): Promise<void> {
  const opened = await openModel(path);
  try {
    disposeParams((await opened.load(backend)).params);
  } finally {
    await opened.close();
  }
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
    spoilSealed(path, original, random) {
      writeFileSync(path, spoiltFile(path, original, random));
      sealCheckpoint(path);
    },
  }),
  folderTarget({
    name: 'huggingface',
    write: async (_backend, folder) => writeHuggingFace(folder),
    read: loadOpened,
  }),
  folderTarget({
    name: 'gguf',
    async write(_backend, folder) {
      const source = join(folder, 'source');
      mkdirSync(source);
      writeHuggingFace(source);
      const opened = await openModel(source);
      const [made = ''] = await writeModel(opened, join(folder, 'out'), { format: 'gguf' });
      await opened.close();
      renameSync(made, join(folder, 'model.gguf'));
      for (const name of ['source', 'out']) rmSync(join(folder, name), { recursive: true });
    },
    read: (backend, folder) => loadOpened(backend, join(folder, 'model.gguf')),
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
    spoilSealed: (path, original, random) => writeFileSync(path, spoilOnnx(original, random)),
  }),
];
