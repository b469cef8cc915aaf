import type { Communicator } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { programVersion } from '../run/program.ts';
import type { RunRecord } from '../run/record.ts';
import { broadcastText } from './join.ts';

/**
 * Refuses ranks of another program, or that are to do something else. The first that ranks say to each other: what they say next
 * depends on it.
 * @throws UsageError that names the rank and what differs
 */
export async function requireSameProgram(
  communicator: Communicator,
  task: 'begin' | '--resume' | '--plan',
): Promise<void> {
  // A checkout's commit is not compared: not every host has git.
  await compared(communicator, { version: programVersion().version, task });
}

/**
 * Refuses ranks that would not compute the same: another backend, data or option.
 * @throws UsageError that names the rank and what differs
 */
export async function requireSame(communicator: Communicator, backend: string, record: RunRecord): Promise<void> {
  const { createdAt, command, environment, ...decides } = record;
  await compared(communicator, { backend, ...decides });
}

async function compared(communicator: Communicator, own: object): Promise<void> {
  if (communicator.size === 1) return;
  const mine = JSON.stringify(own);
  const theirs = await broadcastText(communicator, communicator.rank === 0 ? mine : null);
  const difference = firstDifference(JSON.parse(theirs), JSON.parse(mine), '');
  if (difference !== null) {
    const { path, first, own } = difference;
    throw new UsageError(
      `train: rank ${communicator.rank} has ${path} ${own}, and rank 0 ${first}; start all ranks with the same options, data and version`,
    );
  }
  await communicator.barrier();
}

/** @throws UsageError for a batch that cannot be shared evenly, before anything is made */
export function requireShare(
  size: number,
  { batch, microBatch = batch }: Pick<RunRecord['training'], 'batch' | 'microBatch'>,
): void {
  if (batch % size !== 0) {
    const fits = Math.ceil(batch / size) * size;
    throw new UsageError(`train: --batch ${batch} cannot be shared by ${size} ranks; choose a multiple: ${fits}`);
  }
  const share = batch / size;
  if (share % Math.min(microBatch, share) !== 0) {
    throw new UsageError(
      `train: each of ${size} ranks has ${share} of ${batch} sequences, which --micro-batch ${microBatch} does not divide; choose a divisor of ${share}`,
    );
  }
}

interface Difference {
  readonly path: string;
  readonly first: string;
  readonly own: string;
}

function firstDifference(first: unknown, own: unknown, path: string): Difference | null {
  if (typeof first === 'object' && first !== null && typeof own === 'object' && own !== null) {
    for (const key of new Set([...Object.keys(first), ...Object.keys(own)])) {
      const at = path === '' ? key : `${path}.${key}`;
      const found = firstDifference((first as Record<string, unknown>)[key], (own as Record<string, unknown>)[key], at);
      if (found !== null) return found;
    }
    return null;
  }
  return first === own ? null : { path, first: shown(first), own: shown(own) };
}

function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
