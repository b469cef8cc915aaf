import { totalmem } from 'node:os';
import type { Backend } from '@lazy-attention/core';
import { parameterCount } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import type { RunRecord } from '../run/record.ts';

/** Backends whose tensors are in this machine's memory. Others have their own, which nobody tells the size of. */
const IN_HOST_MEMORY = ['cpu', 'reference'];
/** More than any device has: 4 TiB. */
const MOST = 2 ** 42;
/** Weights, gradients and both moments, in f32. */
const BYTES_PER_PARAMETER = 16;

/**
 * Refuses a run that cannot fit, before anything is made for it. The estimate is a lower bound, so that nothing is
 * refused which would fit: parameters with their gradients and moments, and per token what the backward pass reads.
 * @throws UsageError that says how large a batch would fit
 */
export function refuseTooLarge(backend: Backend, { model, training }: Pick<RunRecord, 'model' | 'training'>): void {
  const limit = IN_HOST_MEMORY.includes(backend.name) ? hostMemory() : MOST;
  const fixed = BYTES_PER_PARAMETER * parameterCount(model);
  const { hiddenSize, intermediateSize, numLayers, vocabSize, context } = model;
  const perSequence = 4 * context * (numLayers * (4 * hiddenSize + 2 * intermediateSize) + vocabSize);
  const needed = fixed + training.batch * perSequence;
  if (needed <= limit) return;
  const fits = Math.floor((limit - fixed) / perSequence);
  throw new UsageError(
    `train: ${training.batch} sequences of ${context} tokens in a model of this size take at least ${gibibytes(needed)}, and ${gibibytes(limit)} are there; ${
      fits >= 1 ? `at most --batch ${fits} fits` : 'not even one sequence fits: use a smaller model or --context'
    }`,
  );
}

/** What this process may use: less than the machine has where it is confined. */
function hostMemory(): number {
  const confined = process.constrainedMemory?.() ?? 0;
  return confined > 0 ? Math.min(confined, totalmem()) : totalmem();
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
