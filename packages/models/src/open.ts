import type { Backend, TensorData } from '@lazy-attention/core';
import { huggingFaceTokenizer, type Tokenizer } from '@lazy-attention/data';
import {
  ConfigError,
  type LazyTransformer,
  type LazyTransformerConfig,
  type LazyTransformerOptions,
  lazyTransformer,
  type Params,
} from '@lazy-attention/nn';
import { ModelError, messageOf } from './errors.ts';
import { type ModelFiles, readJson, readJsonIfThere } from './files.ts';
import { mapGguf } from './gguf/config.ts';
import { readGguf } from './gguf/read.ts';
import { ggufTokenizer } from './gguf/tokenizer.ts';
import { AUTHORS, hasAuthorsNames, mapConfig } from './hf/config.ts';
import { loadTensors, planTensors, type TensorPlan } from './load.ts';
import { isStatistic, storedName } from './names.ts';
import { checkBlocks, type WeightsFormat } from './packed.ts';
import { isRotated } from './rows.ts';
import { isPickle, pickleError, safetensorsStore } from './tensors/safetensors.ts';
import { rowsOf, type TensorStore } from './tensors/store.ts';

/** Where a model came from. */
export type ModelFormat = 'run' | 'checkpoint' | 'hf' | 'fla' | 'gguf';

/** Element types that `load` can be asked for; f64 is for the reference backend. */
export type LoadDType = 'f32' | 'f64' | 'bf16' | 'f16';

/** How `load` of an opened model copies its weights. */
export interface LoadModelOptions {
  /** Type of the weights and of the forward pass. Default f32; of a checkpoint what it was trained in. */
  readonly dtype?: LoadDType;
  /**
   * How matrices are held, for inference in f32: 'blocks' keeps those of a GGUF in their blocks, with the same values as 'dense': Q4_0
   * and Q4_1 in 5 bits a weight, Q4_K in 5.5, Q5_0, Q8_0 and IQ4_NL in 8.5, Q5_1, IQ4_XS and the other k-quants in 10; 'bf16' rounds
   * them to bf16, exact for a model that is stored so. A matrix that is in no blocks, or whose sizes are no multiples of 16 and 32,
   * stays dense. Default 'dense': numbers of `dtype`.
   */
  readonly weights?: WeightsFormat;
}

/** A model whose files have been opened and checked, and whose weights are still in them. */
export interface OpenedModel {
  /** As it was given. */
  readonly path: string;
  /** What the files are. */
  readonly format: ModelFormat;
  /** Of the model that they hold. */
  readonly config: LazyTransformerConfig;
  /** Null for a model that comes without. */
  readonly tokenizer: Tokenizer | null;
  /** Steps that it was trained for, where a run says so. */
  readonly step: number | null;
  /**
   * Copies the weights to the backend, in `dtype` (default f32); bias and tau stay in f32 beside bf16 and f16. The caller disposes
   * `params`. @throws ModelError MODEL_TENSORS, MODEL_CORRUPT
   */
  load(backend: Backend, options?: LoadModelOptions): Promise<LoadedModel>;
  /** The weights by nn's names, still in the files: for what copies them elsewhere, such as `writeModel`. */
  tensors(): Promise<TensorStore>;
  /** Element type or quantisation of the files, and how many numbers each has: { Q4_1: 106204032, F32: 35136 }. */
  storedTypes(): Promise<Readonly<Record<string, number>>>;
  /** Closes the files. `load` is no longer possible then. */
  close(): Promise<void>;
}

/** A model with its weights on a backend. */
export interface LoadedModel {
  /** Ready to run with `params`. */
  readonly model: LazyTransformer;
  /** The caller disposes them. */
  readonly params: Params;
}

/**
 * Opens a Hugging Face or fla folder, or a single GGUF file, from files that are open anywhere; in Node see `openModel` of the Node entry.
 * @throws ModelError with the file, the key or tensor, and the fix
 */
export async function openModelFiles(files: ModelFiles): Promise<Omit<OpenedModel, 'close'>> {
  const gguf = files.names.filter((name) => name.endsWith('.gguf'));
  if (files.names.includes('config.json')) return openFolder(files);
  if (gguf.length === 1 && files.names.length === 1) return openGguf(files, gguf[0]);
  if (files.names.length === 1 && isPickle(files.names[0])) throw pickleError(files.name);
  throw new ModelError(
    'MODEL_MISSING',
    files.name,
    gguf.length > 0
      ? `is a folder of GGUF files; name one of them: ${gguf.join(', ')}`
      : 'has no config.json; expected a Hugging Face or fla folder, a .gguf file, a run or a checkpoint',
  );
}

async function openFolder(files: ModelFiles): Promise<Omit<OpenedModel, 'close'>> {
  const path = `${files.name}/config.json`;
  const json = await readJson(files, 'config.json');
  const store = await safetensorsStore(files);
  const { layout, options } = mapConfig(path, json, store);
  const authors = hasAuthorsNames(store);
  const plan = (name: string): TensorPlan => {
    const stored = storedName(layout, name);
    if (!authors || !isStatistic(name)) return { stored };
    const parent = stored.slice(0, stored.lastIndexOf('.') + 1);
    if (name.endsWith('bias')) return { stored: parent + AUTHORS.bias };
    // spec §The authors' code: their offset is applied as its distance from -1.
    return { stored: parent + AUTHORS.tau, convert: (rows) => rows.map((s) => -Math.abs(s + 1)) as TensorData };
  };
  // With tied embeddings a head in the file is the embedding again; buffers of RoPE follow from the configuration.
  const tied = options.tieEmbeddings ?? false;
  const ignored = (name: string) =>
    (tied && name === 'lm_head.weight') || name.endsWith('rotary_emb.inv_freq') || name.endsWith('rotary.inv_freq');
  if (tied) await checkTiedHead(store, storedName(layout, 'model.embeddings.weight'));
  const tokenizer = await folderTokenizer(files);
  return opened(files.name, path, layout, options, store, plan, ignored, tokenizer);
}

async function openGguf(files: ModelFiles, name: string): Promise<Omit<OpenedModel, 'close'>> {
  const source = await files.open(name);
  const file = await readGguf(source);
  const { options, pairs } = await mapGguf(source.name, file);
  const tokenizer = ggufTokenizer(source.name, file.metadata);
  const headDim = options.headDim as number;
  const plan = (ours: string): TensorPlan => {
    const stored = storedName('gguf', ours);
    if (!pairs || !isRotated(ours)) return { stored };
    return { stored, pairsOf: headDim };
  };
  const ignored = (stored: string) => stored === 'rope_freqs.weight';
  return opened(files.name, source.name, 'gguf', options, file.tensors, plan, ignored, tokenizer);
}

function opened(
  name: string,
  path: string,
  format: ModelFormat,
  options: LazyTransformerOptions,
  store: TensorStore,
  plan: (name: string) => TensorPlan,
  ignored: (name: string) => boolean,
  tokenizer: Tokenizer | null,
): Omit<OpenedModel, 'close'> {
  const model = build(path, options);
  const tensors = planTensors(model, store, plan, { path: name, ignored });
  checkVocabulary(name, model.config, tokenizer);
  return {
    path: name,
    format,
    config: model.config,
    tokenizer,
    step: null,
    async load(backend, { dtype = 'f32', weights = 'dense' } = {}) {
      checkWeights(path, weights, dtype);
      if (weights === 'blocks') checkBlocks(path, tensors);
      const computeDType = dtype === 'bf16' || dtype === 'f16' ? dtype : null;
      const loaded = lazyTransformer({ ...model.config, computeDType });
      const statistics = dtype === 'f64' ? 'f64' : 'f32';
      const params = await loadTensors(
        backend,
        tensors,
        (parameter) => (isStatistic(parameter) ? statistics : dtype),
        weights,
      );
      return { model: loaded, params };
    },
    tensors: async () => tensors,
    storedTypes: async () => countTypes(store),
  };
}

/** @throws ModelError MODEL_UNSUPPORTED for a format that is not known, or packed weights beside another type than f32 */
export function checkWeights(path: string, weights: WeightsFormat, dtype: LoadDType): void {
  if (!['dense', 'blocks', 'bf16'].includes(weights)) {
    throw new ModelError('MODEL_UNSUPPORTED', path, `weights is '${weights}'; expected dense, blocks or bf16`);
  }
  if (weights === 'dense' || dtype === 'f32') return;
  throw new ModelError(
    'MODEL_UNSUPPORTED',
    path,
    `weights '${weights}' go with dtype f32, not ${dtype}: packed weights meet f32 activations`,
  );
}

/** How many numbers of each type. */
export function countTypes(store: TensorStore): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { type, shape } of store.values()) {
    const { rows, columns } = rowsOf(shape);
    counts[type] = (counts[type] ?? 0) + rows * columns;
  }
  return counts;
}

/** What nn refuses is a value of the configuration file. */
function build(path: string, options: LazyTransformerOptions): LazyTransformer {
  try {
    return lazyTransformer(options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ModelError('MODEL_UNSUPPORTED', path, `describes a model that is not supported: ${error.message}`, {
      cause: error,
    });
  }
}

async function checkTiedHead(store: TensorStore, embeddings: string): Promise<void> {
  const [head, table] = [store.get('lm_head.weight'), store.get(embeddings)];
  if (head === undefined || table === undefined) return;
  const { rows } = rowsOf(table.shape);
  const last = Math.min(rows, head.shape[0]) - 1;
  for (const row of [0, last]) {
    const [a, b] = await Promise.all([head.read(row, row + 1), table.read(row, row + 1)]);
    if (a.length !== b.length || !a.every((x, i) => Object.is(x, b[i]))) {
      throw new ModelError(
        'MODEL_TENSORS',
        head.file,
        "'lm_head.weight' differs from the embedding, but 'tie_word_embeddings' says they are one",
      );
    }
  }
}

async function folderTokenizer(files: ModelFiles): Promise<Tokenizer | null> {
  const tokenizer = await readJsonIfThere(files, 'tokenizer.json');
  if (tokenizer === null) return null;
  const config = await readJsonIfThere(files, 'tokenizer_config.json');
  try {
    return huggingFaceTokenizer(tokenizer, { name: 'tokenizer.json', config });
  } catch (cause) {
    throw new ModelError('MODEL_TOKENIZER', `${files.name}/tokenizer.json`, messageOf(cause), { cause });
  }
}

/** @throws ModelError MODEL_TOKENIZER */
export function checkVocabulary(name: string, { vocabSize }: LazyTransformerConfig, tokenizer: Tokenizer | null): void {
  if (tokenizer === null || tokenizer.vocabSize <= vocabSize) return;
  throw new ModelError(
    'MODEL_TOKENIZER',
    name,
    `its tokenizer has ${tokenizer.vocabSize} ids; the model has embeddings for ${vocabSize}; they do not belong together`,
  );
}
