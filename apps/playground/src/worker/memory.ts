import { type LazyTransformerConfig, parameterCount } from '@lazy-attention/nn';

/** Share of the machine's memory that a page may ask for. */
const SHARE = 0.25;
/** What a browser that does not tell is taken to have, in GiB. */
const UNTOLD = 4;
/** Adapters that compute on the CPU are for trying: a model of more would hold the page for minutes. */
const SOFTWARE_BYTES = 256 * 2 ** 20;

/** Bytes that a model may have here. */
export function memoryLimit(memory: number | undefined, software: boolean): number {
  const bytes = (memory ?? UNTOLD) * 2 ** 30 * SHARE;
  return software ? Math.min(bytes, SOFTWARE_BYTES) : bytes;
}

/** A sentence where a model does not fit, else null. `bytesPerWeight` is that of the engine. */
export function tooLarge(
  name: string,
  config: LazyTransformerConfig,
  bytesPerWeight: number,
  limit: number,
): string | null {
  const needed = parameterCount(config) * bytesPerWeight;
  if (needed <= limit) return null;
  return `${name} needs ${megabytes(needed)} of memory for its weights, and this page may use ${megabytes(limit)} here. Open a smaller model, or look into this one with: npx lazy-attention inspect ${name}`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20).toLocaleString('en')} MB`;
}
