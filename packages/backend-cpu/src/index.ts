import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BackendProvider, ValueError } from '@lazy-attention/core';
import { nativeProvider } from '@lazy-attention/native';

/** Instruction sets that the kernels are built for. Which of them a machine runs, the probe finds out. */
export const INSTRUCTION_SETS = ['avx512', 'avx2', 'neon', 'portable'] as const;

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
  directory: dirname(dirname(fileURLToPath(import.meta.url))),
  file: 'lazy_cpu.node',
  options: ['threads', 'isa'],
  resolveOptions: (options) => ({
    threads: threads(options.threads ?? fromEnvironment('LAZY_ATTENTION_THREADS')),
    isa: instructionSet(options.isa ?? fromEnvironment('LAZY_ATTENTION_ISA')),
  }),
});

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
