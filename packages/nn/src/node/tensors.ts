import { createHash } from 'node:crypto';
import {
  type Backend,
  checkOptions,
  type DType,
  type FloatDType,
  formatShape,
  type Tensor,
  type TensorData,
} from '@lazy-attention/core';
import { decodeElements, encodeElements } from '../checkpoint/elements.ts';
import { encodeHeader, type Header } from '../checkpoint/safetensors.ts';
import { type ByteSource, readSafetensorsHeader } from '../checkpoint/source.ts';
import { CheckpointError } from '../errors.ts';
import type { Shapes } from '../model/parameters.ts';
import { listed, type Params } from '../params.ts';
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

/** How `loadParams` reads. */
export interface LoadParamsOptions {
  /** Type of all floating tensors; default the file's, and f32 for bf16 and f16 on a backend that lacks them. */
  readonly dtype?: FloatDType | undefined;
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
  const header = await readSafetensorsHeader({ name: path, size, read });
  if (shapes !== undefined) checkShapes(path, header, shapes);

  const tensors = new Map<string, Tensor>();
  try {
    for (const [name, { dtype, shape, begin, end }] of header.tensors) {
      const data = decodeElements(await read(header.dataOffset + begin, end - begin), dtype);
      checkFinite(path, name, data, 'CHECKPOINT_CORRUPT');
      tensors.set(name, backend.tensor(data, shape, typeFor(backend, path, name, dtype, options)));
    }
    if (digest !== undefined && hash.digest('hex') !== digest.sha256) {
      throw new CheckpointError(
        'CHECKPOINT_CORRUPT',
        path,
        'its SHA-256 is not that of what was written; it is damaged',
      );
    }
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  }
  return Object.fromEntries(
    Object.keys(shapes ?? Object.fromEntries(tensors)).map((name) => [name, tensors.get(name) as Tensor]),
  );
}

/** Type on the backend of a tensor that the file has as `dtype`. */
function typeFor(
  backend: Backend,
  path: string,
  name: string,
  dtype: DType,
  { dtype: asked }: LoadParamsOptions,
): DType {
  const wanted = dtype === 'i32' ? dtype : (asked ?? dtype);
  if (backend.dtypes.has(wanted)) return wanted;
  if (asked === undefined && (dtype === 'bf16' || dtype === 'f16')) return 'f32';
  throw new CheckpointError(
    'CHECKPOINT_READ',
    path,
    `'${name}' is ${dtype} and was to be ${wanted}, which backend '${backend.name}' lacks; give loadParams { dtype: 'f32' }`,
  );
}

function checkShapes(path: string, { tensors }: Header, shapes: Shapes): void {
  const wrong = (message: string) => new CheckpointError('CHECKPOINT_SHAPE', path, message);
  const missing = Object.keys(shapes).filter((name) => !tensors.has(name));
  if (missing.length > 0) throw wrong(`lacks ${missing.length} tensors that the model has: ${listed(missing)}`);
  const extra = Array.from(tensors.keys()).filter((name) => !Object.hasOwn(shapes, name));
  if (extra.length > 0) throw wrong(`has ${extra.length} tensors that the model lacks: ${listed(extra)}`);
  for (const [name, shape] of Object.entries(shapes)) {
    const found = formatShape(tensors.get(name)?.shape ?? []);
    if (found !== formatShape(shape))
      throw wrong(`'${name}' has shape ${found}; the model expects ${formatShape(shape)}`);
  }
}

/** A diverged run must not replace its last good checkpoint, and a damaged one must not be trained on. */
function checkFinite(
  path: string,
  name: string,
  data: TensorData,
  code: 'CHECKPOINT_WRITE' | 'CHECKPOINT_CORRUPT' = 'CHECKPOINT_WRITE',
): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) {
      const what =
        code === 'CHECKPOINT_WRITE'
          ? 'not saved: the run has diverged; earlier checkpoints are untouched'
          : 'expected finite numbers';
      throw new CheckpointError(code, path, `element ${i} of '${name}' is ${data[i]}; ${what}`);
    }
  }
}
