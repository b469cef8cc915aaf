import { BackendUnavailableError } from '@lazy-attention/core';
import { type AddonPlace, type ErrorOf, errorOf, loadBinary, probeAddon } from '@lazy-attention/native';

/** What the machine reached at most, in this backend's instruction set and threads. */
export interface Ceilings {
  /** Multiply-adds in registers, two operations each. */
  readonly flopsPerSecond: number;
  /** Bytes copied from memory to memory. */
  readonly copyBytesPerSecond: number;
  /** Bytes read, over and over, of a block of the size asked for. */
  readonly readBytesPerSecond: number;
  /** The same in the median round instead of the best. */
  readonly usualReadBytesPerSecond: number;
  /** And with every thread reading in four places at a time, as products of few rows do. */
  readonly usualFourfoldReadBytesPerSecond: number;
}

/**
 * Measures the machine's ceilings, for benchmarks. Blocks for about a second.
 *
 * @param options.bytes size of the block that is read and copied; one that fits the caches measures the caches
 */
export async function measureCeilings(
  place: AddonPlace,
  { threads, isa, bytes }: { readonly threads: number; readonly isa: string; readonly bytes: number },
): Promise<Ceilings> {
  const { result, path } = await probeAddon(place);
  if (path === null || !result.available) throw new BackendUnavailableError(place.name, result.reason, result.fix);
  const addon = loadBinary(path) as {
    ceilings(threads: number, isa: string, bytes: number, errorOf: ErrorOf): Ceilings;
  };
  return addon.ceilings(threads, isa, bytes, errorOf(place.name));
}
