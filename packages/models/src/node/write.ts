import { randomBytes } from 'node:crypto';
import { lstat, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CheckpointError } from '@lazy-attention/nn';
import { makeFolder, renameDurably, syncFolder, writeDurably } from '@lazy-attention/nn/node';
import { ModelError, messageOf } from '../errors.ts';
import { storedName } from '../names.ts';
import type { OpenedModel } from '../open.ts';
import { flaConfig, hfConfig, type WriteDType } from '../write/config.ts';
import { ggufChunks } from '../write/gguf.ts';
import { safetensorsChunks } from '../write/safetensors.ts';
import { tokenizerFiles } from '../write/tokenizer.ts';

/** How `writeModel` writes. */
export interface WriteOptions {
  /** Hugging Face, flash-linear-attention, or llama.cpp. */
  readonly format: 'hf' | 'fla' | 'gguf';
  /** Of the weights. Default: that of the files where all are of one, else f32. */
  readonly dtype?: WriteDType | undefined;
}

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Writes a model to the folder `out`, which must not be there yet: config.json, model.safetensors and the tokenizer, or model.gguf. The
 * weights go from file to file, a piece at a time; where type and layout allow it, bit for bit. Returns the paths of the files.
 * @throws ModelError MODEL_WRITE for a model that the format cannot hold, a folder that is there, or a full disk; nothing is left then
 */
export async function writeModel(opened: OpenedModel, out: string, options: WriteOptions): Promise<string[]> {
  if (
    await lstat(out).then(
      () => true,
      () => false,
    )
  ) {
    throw new ModelError('MODEL_WRITE', out, 'is there already; name another folder, or remove it');
  }
  const dtype = options.dtype ?? (await dtypeOf(opened));
  const files = await filesOf(opened, out, options.format, dtype);
  // A name of its own, made before what failed is removed: a folder of that name that was there is not ours.
  const temporary = `${out}.tmp-${randomBytes(4).toString('hex')}`;
  try {
    await makeFolder(dirname(out));
    await mkdir(temporary);
  } catch (error) {
    throw new ModelError('MODEL_WRITE', out, `cannot be written: ${messageOf(error)}`, { cause: error });
  }
  try {
    for (const [name, chunks] of files) await writeDurably(join(temporary, name), chunks);
    await syncFolder(temporary);
    await renameDurably(temporary, out);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (error instanceof ModelError || error instanceof CheckpointError) throw error;
    throw new ModelError('MODEL_WRITE', out, `cannot be written: ${messageOf(error)}`, { cause: error });
  }
  return files.map(([name]) => join(out, name));
}

async function filesOf(
  { config, tokenizer, ...opened }: OpenedModel,
  out: string,
  format: WriteOptions['format'],
  dtype: WriteDType,
): Promise<[string, Chunks][]> {
  const tensors = await opened.tensors();
  if (format === 'gguf') return [['model.gguf', ggufChunks(out, config, tensors, tokenizer, dtype)]];
  const json = (value: object) => [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)];
  const describe = format === 'hf' ? hfConfig : flaConfig;
  const files: [string, Chunks][] = [
    ['config.json', json(describe(out, config, tokenizer, dtype))],
    ['model.safetensors', safetensorsChunks(tensors, (name) => storedName(format, name), dtype)],
  ];
  if (tokenizer === null) return files;
  const { tokenizer: vocabulary, config: settings } = tokenizerFiles(tokenizer);
  return [...files, ['tokenizer.json', json(vocabulary)], ['tokenizer_config.json', json(settings)]];
}

async function dtypeOf(opened: OpenedModel): Promise<WriteDType> {
  const types = Object.keys(await opened.storedTypes());
  const [only] = types;
  return types.length === 1 && /^(F32|BF16|F16|F64)$/.test(only) ? (only.toLowerCase() as WriteDType) : 'f32';
}
