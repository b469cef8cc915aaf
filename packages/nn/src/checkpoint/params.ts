import {
  type Backend,
  type DType,
  type FloatDType,
  formatShape,
  type Tensor,
  type TensorData,
} from '@lazy-attention/core';
import { CheckpointError } from '../errors.ts';
import type { Shapes } from '../model/parameters.ts';
import { listed, type Params } from '../params.ts';
import { decodeElements } from './elements.ts';
import type { Header } from './safetensors.ts';
import { type ByteSource, readSafetensorsHeader } from './source.ts';

/** How `loadParams` reads. */
export interface LoadParamsOptions {
  /** Type of all floating tensors; default the file's, and f32 for bf16 and f16 on a backend that lacks them. */
  readonly dtype?: FloatDType | undefined;
}

/**
 * Reads a safetensors file from anywhere onto the backend: as `loadParams` of the Node entry, in a browser too. Header and tensors are
 * read in the order of the file. The caller disposes the tensors.
 * @throws CheckpointError CHECKPOINT_READ, CHECKPOINT_CORRUPT or CHECKPOINT_SHAPE
 */
export async function loadParamsFrom(
  backend: Backend,
  source: ByteSource,
  shapes?: Shapes,
  options: LoadParamsOptions = {},
): Promise<Params> {
  const { name: path } = source;
  const header = await readSafetensorsHeader(source);
  if (shapes !== undefined) checkShapes(path, header, shapes);
  const tensors = new Map<string, Tensor>();
  try {
    for (const [name, { dtype, shape, begin, end }] of header.tensors) {
      const data = decodeElements(await source.read(header.dataOffset + begin, end - begin), dtype);
      checkFinite(path, name, data, 'CHECKPOINT_CORRUPT');
      tensors.set(name, backend.tensor(data, shape, typeFor(backend, path, name, dtype, options)));
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
export function checkFinite(
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
