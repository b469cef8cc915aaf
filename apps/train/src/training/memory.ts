import { totalmem } from 'node:os';
import type { Backend } from '@lazy-attention/core';
import { type CountingOptions, type MemoryPlan, memoryPlan, memoryTraits } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { ranksHere } from '../ranks/join.ts';
import type { RunRecord } from '../run/record.ts';
import { isTrained } from './start.ts';

/** What decides how much memory a run takes. */
type Sized = Pick<RunRecord, 'model' | 'training' | 'start'>;

/** Backends whose tensors are in this machine's memory. Others have their own, which nobody tells the size of. */
const IN_HOST_MEMORY = ['cpu', 'reference'];
/** More than any device has: 4 TiB. */
const MOST = 2 ** 42;
/** Tokens on the device at a time up to which a step is counted; from there on bytes are taken as linear in the sequences. */
const COUNTED_TOKENS = 2 ** 15;

/** Bytes that the backend may use; null where nobody tells. The ranks of a machine share its memory. */
export function memoryLimit(backend: Backend): number | null {
  return IN_HOST_MEMORY.includes(backend.name) ? hostMemory() / ranksHere() : null;
}

/** Sequences that one of `ranks` processes has on the device at a time. */
export function rowsAtATime({ batch, microBatch = batch }: Sized['training'], ranks: number): number {
  return Math.min(microBatch, batch / ranks);
}

/** The live bytes of the run's training steps at their peak, in each of `ranks` processes. */
export function planMemory({ model, training, start }: Sized, traits: CountingOptions, ranks = 1): MemoryPlan {
  const { recompute, lossRows, optimizerDtype, shardOptimizer = false } = training;
  const microBatch = rowsAtATime(training, ranks);
  const pieces = training.batch / ranks / microBatch;
  const planned = (rows: number) =>
    memoryPlan(
      model,
      {
        batch: rows * Math.min(2, pieces),
        microBatch: rows,
        recompute,
        lossRows,
        stateDType: optimizerDtype === 'bf16' ? optimizerDtype : undefined,
        ...{ ranks, shardOptimizer },
        trains: (name) => isTrained(name, start?.trainOnly),
      },
      traits,
    );
  const most = Math.max(2, Math.floor(COUNTED_TOKENS / model.context));
  if (microBatch <= most) return planned(microBatch);
  const [less, more] = [planned(most / 2), planned(most)];
  const entries = Object.entries(more) as [keyof MemoryPlan, number][];
  const far = (microBatch - most) / (most - most / 2);
  return Object.fromEntries(
    entries.map(([kind, bytes]) => [kind, Math.max(0, bytes + far * (bytes - less[kind]))]),
  ) as unknown as MemoryPlan;
}

/**
 * Refuses a run that cannot fit, before anything is made for it.
 * @throws UsageError that says what would fit: the largest --micro-batch, with --recompute where that is needed
 */
export function refuseTooLarge(backend: Backend, record: Sized, ranks = 1): MemoryPlan {
  const limit = memoryLimit(backend) ?? MOST;
  const traits = memoryTraits(backend);
  const plan = planMemory(record, traits, ranks);
  if (plan.peakBytes <= limit) return plan;
  const { batch } = record.training;
  throw new UsageError(
    `train: ${batch / ranks} sequences of ${record.model.context} tokens in a model of this size take ${gibibytes(plan.peakBytes)} at the peak, and ${gibibytes(limit)} are there${ranks === 1 ? '' : ` for each of ${ranks} ranks`}; ${whatFits(record, traits, limit, ranks)}`,
  );
}

function whatFits({ model, training, start }: Sized, traits: CountingOptions, limit: number, ranks: number): string {
  const divisors = divisorsOf(training.batch / ranks).filter((rows) => rows <= rowsAtATime(training, ranks));
  const ways = [
    { flags: '', training },
    { flags: ' --recompute', training: { ...training, recompute: true } },
    {
      flags: ' --recompute --loss-rows 1024',
      training: { ...training, recompute: true, lossRows: Math.min(1024, training.lossRows ?? 1024) },
    },
  ];
  const found = ways.flatMap((way) => {
    const fits = (rows: number) =>
      planMemory({ model, training: { ...way.training, microBatch: rows }, start }, traits, ranks).peakBytes <= limit;
    const rows = largest(divisors, fits);
    return rows === null ? [] : [`--micro-batch ${rows}${way.flags}`];
  });
  if (found.length > 0) return `${found.slice(0, 2).join(' or ')} fits`;
  return 'not even one sequence fits: use a smaller model or --context';
}

function divisorsOf(n: number): number[] {
  const small = Array.from({ length: Math.floor(Math.sqrt(n)) }, (_, i) => i + 1).filter((d) => n % d === 0);
  return [...new Set([...small, ...small.map((d) => n / d)])].sort((a, b) => a - b);
}

/** The largest of ascending values that passes, when all below it do. */
function largest(values: readonly number[], passes: (value: number) => boolean): number | null {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (passes(values[middle] as number)) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? null : (values[low - 1] as number);
}

/** What this process may use: less than the machine has where it is confined. */
function hostMemory(): number {
  const confined = process.constrainedMemory?.() ?? 0;
  return confined > 0 ? Math.min(confined, totalmem()) : totalmem();
}

/** As people read it. */
export function gibibytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
