import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BackendProvider, ValueError } from '@lazy-attention/core';
import { addonPlace, nativeProvider } from '@lazy-attention/native';
import { type Ceilings, measureCeilings } from './ceilings.ts';

export type { Ceilings };

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const file = 'lazy_cpu.node';

/**
 * Instruction sets that the kernels are built for. Which of them a machine runs, the probe finds out. `amx` and `avx512bf16` are AVX-512
 * with the products of bf16 on AMX tiles and on AVX512-BF16. `emulated` is the best of the others with these tiles computed in its
 * vectors: the way of `amx` for bf16 on any machine, slower than without (packed weights go the way of vectors).
 */
export const INSTRUCTION_SETS = ['amx', 'avx512bf16', 'avx512', 'avx2', 'neon', 'portable', 'emulated'] as const;

/**
 * The native CPU backend, as `createBackend('cpu', options)` finds it.
 *
 * Options, each with the environment variable that sets it where it is left out:
 * - `threads` (LAZY_ATTENTION_THREADS): compute threads, 1 to 1024; default as many as the process may run at once.
 *   Results repeat bit for bit for the same number of threads.
 * - `isa` (LAZY_ATTENTION_ISA): 'auto' (the best that runs here), or one of `INSTRUCTION_SETS`.
 * - `memoryLimit`: bytes that tensors and scratch may take; more is an `OutOfMemoryError`. Default: what the system has.
 */
export const provider: BackendProvider = nativeProvider({
  name: 'cpu',
  directory,
  file,
  options: ['threads', 'isa'],
  resolveOptions: (options) => ({
    threads: threads(options.threads ?? fromEnvironment('LAZY_ATTENTION_THREADS')),
    isa: instructionSet(options.isa ?? fromEnvironment('LAZY_ATTENTION_ISA')),
  }),
});

/**
 * What this machine can do at most, measured with this backend's threads and instruction set: the yardstick for
 * benchmarks. Blocks for about a second. `bytes` is the size of the block that is read and copied (default 256 MiB).
 */
export async function ceilings(options: { threads?: number; isa?: string; bytes?: number } = {}): Promise<Ceilings> {
  const { bytes = 1 << 28 } = options;
  if (!Number.isSafeInteger(bytes) || bytes < 1024) {
    throw new ValueError(`cpu: ceilings of ${String(bytes)} bytes; expected an integer of 1024 or more`);
  }
  return measureCeilings(addonPlace({ name: 'cpu', directory, file }), {
    threads: threads(options.threads),
    isa: instructionSet(options.isa),
    bytes,
  });
}

function fromEnvironment(name: string): string | undefined {
  const value = process.env[name];
  return value === '' ? undefined : value;
}

function threads(value: unknown): number {
  if (value === undefined) return availableParallelism();
  const count = typeof value === 'string' ? Number(value) : value;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 1 || count > 1024) {
    throw new ValueError(
      `cpu: threads is ${String(value)}; expected an integer from 1 to 1024 (option threads, LAZY_ATTENTION_THREADS)`,
    );
  }
  return count;
}

function instructionSet(value: unknown): string {
  if (value === undefined || value === 'auto') return 'auto';
  if (typeof value !== 'string' || !(INSTRUCTION_SETS as readonly string[]).includes(value)) {
    throw new ValueError(
      `cpu: isa is ${String(value)}; expected auto, ${INSTRUCTION_SETS.join(', ')} (option isa, LAZY_ATTENTION_ISA)`,
    );
  }
  return value;
}
