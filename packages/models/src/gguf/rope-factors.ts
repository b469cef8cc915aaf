import type { RopeScaling } from '@lazy-attention/nn';
import { ModelError } from '../errors.ts';
import type { StoredTensor } from '../tensors/store.ts';

/** What Llama 3.1 and 3.2 were made with; GGUF keeps the divisors of the frequencies that follow, not these. */
const FACTORS = [8, 32, 16, 4, 2] as const;
const LOW = 1;
const HIGH = 4;
const ORIGINAL = 8192;

/**
 * The scaling whose divisors `rope_freqs.weight` [D/2] holds: one of Llama 3's.
 * @throws ModelError MODEL_UNSUPPORTED when it is none of them
 */
export async function llama3Scaling(
  path: string,
  tensor: StoredTensor,
  ropeBase: number,
  headDim: number,
): Promise<RopeScaling> {
  const found = await tensor.read(0, tensor.shape[0]);
  for (const factor of FACTORS) {
    const expected = Array.from({ length: headDim / 2 }, (_, d) => divisor(ropeBase ** ((-2 * d) / headDim), factor));
    const fits = found.length === expected.length && expected.every((x, d) => Math.abs(found[d] - x) <= 1e-4 * x);
    if (fits) {
      return { type: 'llama3', factor, lowFrequencyFactor: LOW, highFrequencyFactor: HIGH, originalContext: ORIGINAL };
    }
  }
  throw new ModelError(
    'MODEL_UNSUPPORTED',
    path,
    "tensor 'rope_freqs.weight' holds other frequencies than Llama 3's scaling by 2, 4, 8, 16 or 32 from 8,192 tokens",
  );
}

/** spec §RoPE scaling, llama3: what a frequency is divided by. */
function divisor(frequency: number, factor: number): number {
  const turns = (ORIGINAL * frequency) / (2 * Math.PI);
  if (turns < LOW) return factor;
  if (turns > HIGH) return 1;
  const kept = (turns - LOW) / (HIGH - LOW);
  return 1 / ((1 - kept) / factor + kept);
}
