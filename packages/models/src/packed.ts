import { type Backend, packBF16, packBlocks, packs, type Tensor, toBF16Bits } from '@lazy-attention/core';
import { ModelError } from './errors.ts';
import { checkFinite } from './tensors/finite.ts';
import { rowsOf, type StoredTensor, type TensorStore } from './tensors/store.ts';

/** How `load` holds matrices: see `LoadModelOptions.weights`. */
export type WeightsFormat = 'dense' | 'blocks' | 'bf16';

/** A matrix in the format, or null where it stays dense. */
export async function loadPacked(
  backend: Backend,
  name: string,
  tensor: StoredTensor,
  weights: WeightsFormat,
): Promise<Tensor | null> {
  const { shape, blocks } = tensor;
  if (weights === 'dense' || !isMatrix(name) || !packs(shape)) return null;
  if (weights === 'bf16') return backend.packed(packBF16(shape, await bf16Bits(name, tensor)));
  if (blocks === undefined) return null;
  const part = await blocks(0, shape[0]);
  try {
    return backend.packed(packBlocks(shape, part));
  } catch (cause) {
    if (!(cause instanceof Error) || cause.name !== 'ValueError') throw cause;
    throw new ModelError('MODEL_CORRUPT', tensor.file, `a scale of '${name}' is no number: ${cause.message}`, {
      cause,
    });
  }
}

/** @throws ModelError MODEL_UNSUPPORTED where no matrix of the file is in blocks that can be kept */
export function checkBlocks(path: string, tensors: TensorStore): void {
  const matrices = matricesOf(tensors);
  if (matrices.some(inBlocks)) return;
  const types = [...new Set(matrices.map(({ type }) => type))].join(', ');
  throw new ModelError(
    'MODEL_UNSUPPORTED',
    path,
    `has no weights in blocks to keep (its matrices are ${types}); load it with weights 'dense' or 'bf16'`,
  );
}

/** Whether a matrix is in blocks that can be kept. */
export function inBlocks({ blocks, shape }: StoredTensor): boolean {
  return blocks !== undefined && packs(shape);
}

/** Of a model by nn's names. */
export function matricesOf(tensors: TensorStore): StoredTensor[] {
  return Array.from(tensors).flatMap(([name, tensor]) => (isMatrix(name) ? [tensor] : []));
}

/** Of nn's names: what Linear layers multiply by, the embedding and the head. */
function isMatrix(name: string): boolean {
  return /(_proj|embeddings|lm_head)\.weight$/.test(name);
}

/** Elements rounded to nearest, piece by piece. */
async function bf16Bits(name: string, tensor: StoredTensor): Promise<Uint16Array> {
  const { rows, columns } = rowsOf(tensor.shape);
  const bits = new Uint16Array(rows * columns);
  const { step = 1 } = tensor;
  const atOnce = Math.max(step, Math.floor(4_000_000 / columns / step) * step);
  for (let row = 0; row < rows; row += atOnce) {
    const data = await tensor.read(row, Math.min(rows, row + atOnce));
    checkFinite(tensor.file, name, data);
    for (let i = 0; i < data.length; i++) bits[row * columns + i] = toBF16Bits(data[i]);
  }
  return bits;
}
