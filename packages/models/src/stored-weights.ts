import type { Backend, PackedDType } from '@lazy-attention/core';
import type { OpenedModel } from './open.ts';
import { inBlocks, matricesOf, type WeightsFormat } from './packed.ts';

/** The types of packed weights that blocks become. */
const BLOCK_DTYPES: readonly PackedDType[] = ['w4', 'w8', 'w4k', 'w8k'];

/**
 * The format that keeps the matrices of a model as its files store them, with the values that 'dense' has: 'blocks' or 'bf16' where they are
 * stored so and the backend takes such weights, else 'dense'.
 */
export async function storedWeights(backend: Backend, { format, tensors }: OpenedModel): Promise<WeightsFormat> {
  if (format === 'run' || format === 'checkpoint') return 'dense';
  const matrices = matricesOf(await tensors());
  if (BLOCK_DTYPES.every((type) => backend.packedDTypes.has(type)) && matrices.some(inBlocks)) return 'blocks';
  return backend.packedDTypes.has('w16') && matrices.every(({ type }) => type === 'BF16') ? 'bf16' : 'dense';
}
