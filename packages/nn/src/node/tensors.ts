import { createHash } from 'node:crypto';
import { type Backend, checkOptions } from '@lazy-attention/core';
import { encodeElements } from '../checkpoint/elements.ts';
import { checkFinite, type LoadParamsOptions, loadParamsFrom } from '../checkpoint/params.ts';
import { encodeHeader } from '../checkpoint/safetensors.ts';
import type { ByteSource } from '../checkpoint/source.ts';
import { CheckpointError } from '../errors.ts';
import type { Shapes } from '../model/parameters.ts';
import { disposeParams, type Params } from '../params.ts';
import { type FileDigest, openFile, reading, renameDurably, saving, writeDurably } from './files.ts';

/** The bytes of a safetensors file, one tensor in host memory at a time. `path` is where it is meant to go. */
export async function* tensorBytes(
  path: string,
  tensors: Params,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  yield encodeHeader(tensors, metadata);
  for (const [name, tensor] of Object.entries(tensors)) {
    const data = await tensor.data();
    checkFinite(path, name, data);
    yield encodeElements(data, tensor.dtype);
  }
}

/**
 * Writes parameters to one safetensors file, atomically: beside it first, then renamed. What Python's safetensors reads.
 * @throws CheckpointError CHECKPOINT_WRITE when the disk is full or a value is not finite; an old file stays
 */
export async function saveParams(
  path: string,
  params: Params,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}-${Date.now()}`;
  await saving(path, temporary, async () => {
    await writeDurably(temporary, tensorBytes(path, params, metadata));
    await renameDurably(temporary, path);
  });
}

/**
 * Reads a safetensors file onto the backend; the caller disposes the tensors. Types are the file's; bf16 and f16 widen to f32,
 * exactly, on a backend that lacks them. With `shapes` (of a model) names and shapes must be those, and come in that order.
 * @throws CheckpointError CHECKPOINT_MISSING, CHECKPOINT_READ, CHECKPOINT_CORRUPT or CHECKPOINT_SHAPE
 */
export function loadParams(
  backend: Backend,
  path: string,
  shapes?: Shapes,
  options: LoadParamsOptions = {},
): Promise<Params> {
  checkOptions('loadParams', options, ['dtype']);
  return readTensors(backend, path, shapes, undefined, options);
}

/** As `loadParams`; with `digest` the file must be the one that was written. */
export function readTensors(
  backend: Backend,
  path: string,
  shapes: Shapes | undefined,
  digest: FileDigest | undefined,
  options: LoadParamsOptions = {},
): Promise<Params> {
  return reading(path, async () => {
    const file = await openFile(path);
    try {
      return await readFrom(file, backend, shapes, digest, options);
    } finally {
      await file.close();
    }
  });
}

async function readFrom(
  source: ByteSource,
  backend: Backend,
  shapes: Shapes | undefined,
  digest: FileDigest | undefined,
  options: LoadParamsOptions,
): Promise<Params> {
  const { name: path, size } = source;
  if (digest !== undefined && digest.bytes !== size) {
    throw new CheckpointError(
      'CHECKPOINT_CORRUPT',
      path,
      `has ${size} bytes; ${digest.bytes} were written; it is truncated or was replaced`,
    );
  }
  const hash = createHash('sha256');
  // Header and tensors are read in the order of the file, so this is the hash of all of it.
  const read = async (offset: number, bytes: number) => {
    const chunk = await source.read(offset, bytes);
    hash.update(chunk);
    return chunk;
  };
  const params = await loadParamsFrom(backend, { name: path, size, read }, shapes, options);
  if (digest === undefined || hash.digest('hex') === digest.sha256) return params;
  disposeParams(params);
  throw new CheckpointError('CHECKPOINT_CORRUPT', path, 'its SHA-256 is not that of what was written; it is damaged');
}
