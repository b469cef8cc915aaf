import { bytesPerElement } from '@lazy-attention/core';
import { type ByteSource, CheckpointError, decodeElements, readSafetensorsHeader } from '@lazy-attention/nn';
import * as v from 'valibot';
import { listed, ModelError } from '../errors.ts';
import { type ModelFiles, readJson } from '../files.ts';
import { rowsOf, type StoredTensor, type TensorStore } from './store.ts';

export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';
/** What PyTorch pickles: loading them would run whatever they say. */
const PICKLES = /\.(bin|pt|pth|ckpt)$/;
export const isPickle = (name: string): boolean => PICKLES.test(name);

export function pickleError(path: string): ModelError {
  return new ModelError(
    'MODEL_UNSUPPORTED',
    path,
    'is a pickle, which can run code when it is loaded, and is not read; convert it in Python with ' +
      'AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other), which writes model.safetensors',
  );
}

const IndexSchema = v.looseObject({ weight_map: v.record(v.string(), v.string()) });

/**
 * The tensors of a folder: model.safetensors, or the shards of its index. Only headers are read.
 * @throws ModelError MODEL_MISSING, MODEL_UNSUPPORTED (pickle files), MODEL_CORRUPT, MODEL_TENSORS
 */
export async function safetensorsStore(files: ModelFiles): Promise<TensorStore> {
  if (files.names.includes(INDEX)) return shardedStore(files);
  if (files.names.includes(SINGLE)) return new Map(await tensorsOf(await files.open(SINGLE)));
  const pickle = files.names.find(isPickle);
  if (pickle !== undefined) throw pickleError(`${files.name}/${pickle}`);
  throw new ModelError('MODEL_MISSING', files.name, `has neither ${SINGLE} nor ${INDEX}`);
}

async function shardedStore(files: ModelFiles): Promise<TensorStore> {
  const path = `${files.name}/${INDEX}`;
  const parsed = v.safeParse(IndexSchema, await readJson(files, INDEX));
  if (!parsed.success) {
    throw new ModelError(
      'MODEL_CORRUPT',
      path,
      `weight_map is no map from tensor to file: ${parsed.issues[0].message}`,
    );
  }
  const { weight_map: map } = parsed.output;
  const shards = [...new Set(Object.values(map))];
  for (const shard of shards) {
    if (/[\\/]/.test(shard) || shard === '..' || shard === '.') {
      throw new ModelError('MODEL_CORRUPT', path, `names '${shard}', which is outside the folder; expected file names`);
    }
    if (!files.names.includes(shard)) {
      throw new ModelError('MODEL_MISSING', `${files.name}/${shard}`, `no such file, which ${INDEX} names`);
    }
  }
  const store = new Map<string, StoredTensor>();
  for (const shard of shards) {
    for (const [name, tensor] of await tensorsOf(await files.open(shard))) {
      const earlier = store.get(name);
      if (earlier !== undefined) {
        throw new ModelError('MODEL_TENSORS', tensor.file, `has '${name}', which ${earlier.file} has too`);
      }
      if (map[name] !== shard) {
        const where = map[name] === undefined ? 'does not list' : `places in ${map[name]}`;
        throw new ModelError('MODEL_TENSORS', tensor.file, `has '${name}', which ${INDEX} ${where}`);
      }
      store.set(name, tensor);
    }
  }
  const missing = Object.keys(map).filter((name) => !store.has(name));
  if (missing.length > 0) {
    throw new ModelError('MODEL_TENSORS', path, `lists tensors that no shard has: ${listed(missing)}`);
  }
  return store;
}

async function tensorsOf(source: ByteSource): Promise<[string, StoredTensor][]> {
  const { tensors, dataOffset } = await readSafetensorsHeader(source).catch((error: unknown) => {
    if (!(error instanceof CheckpointError) || error.code !== 'CHECKPOINT_CORRUPT') throw error;
    throw new ModelError('MODEL_CORRUPT', source.name, error.message.slice(source.name.length + 2), { cause: error });
  });
  return Array.from(tensors, ([name, { dtype, shape, begin }]) => {
    const rowBytes = rowsOf(shape).columns * bytesPerElement(dtype);
    return [
      name,
      {
        file: source.name,
        type: dtype.toUpperCase(),
        shape,
        read: async (from, to) =>
          decodeElements(await source.read(dataOffset + begin + from * rowBytes, (to - from) * rowBytes), dtype),
      },
    ];
  });
}
