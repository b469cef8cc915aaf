import { availableParallelism, hostname } from 'node:os';
import { LazyAttentionError } from '@lazy-attention/core';
import { type Communicator, oneProcess } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';

const PACKAGE = '@lazy-attention/communicator-mpi';

/** What an mpirun puts into the environment: Open MPI's, and that of MPICH and its relatives. */
const SIZES = ['OMPI_COMM_WORLD_SIZE', 'PMI_SIZE'];
const LOCAL_SIZES = ['OMPI_COMM_WORLD_LOCAL_SIZE', 'MPI_LOCALNRANKS'];

/**
 * The ranks that an mpirun started, or this process on its own, which needs no MPI.
 * @throws UsageError where the package is not installed; CommunicatorError where MPI cannot be used
 */
export async function joinRanks(): Promise<Communicator> {
  if (SIZES.every((name) => process.env[name] === undefined)) return oneProcess();
  let mpi: typeof import('@lazy-attention/communicator-mpi');
  try {
    mpi = await import(PACKAGE);
  } catch (error) {
    if (error instanceof LazyAttentionError) throw error;
    throw new UsageError(
      `train: an mpirun started this process, which needs the package ${PACKAGE}: npm install ${PACKAGE} (${error instanceof Error ? error.message : error})`,
    );
  }
  shareThreads();
  return mpi.mpiCommunicator();
}

/** @throws UsageError for a command that would be done by each of an mpirun's processes, in one folder */
export function refuseRanks(command: string): void {
  const size = fromEnvironment(SIZES);
  if (!(size > 1)) return;
  throw new UsageError(
    `${command}: an mpirun started ${size} processes, which would all do the same; start it without mpirun (train is what ranks share)`,
  );
}

/** Ranks on this machine. */
export function ranksHere(): number {
  const here = fromEnvironment(LOCAL_SIZES);
  return here > 1 ? here : 1;
}

/** A number that an mpirun says; NaN where there is none. */
function fromEnvironment(names: readonly string[]): number {
  return Number(names.map((name) => process.env[name]).find((value) => value !== undefined));
}

/** The ranks of a machine share its cores, unless somebody says otherwise. */
function shareThreads(): void {
  const here = ranksHere();
  if (process.env.LAZY_ATTENTION_THREADS !== undefined || !(here > 1)) return;
  // Fewer where the launcher has bound the process to some of them.
  process.env.LAZY_ATTENTION_THREADS = String(
    Math.max(1, Math.min(availableParallelism(), availableParallelism() / here) | 0),
  );
}

/** One line for each rank: the machine and the process, by which a launcher's message of its end can be read. */
export async function introduction(communicator: Communicator): Promise<string> {
  const lines: string[] = [];
  for (let rank = 0; rank < communicator.size; rank++) {
    const mine = rank === communicator.rank ? `${hostname()}, process ${process.pid}` : null;
    lines.push(`  rank ${rank}: ${await broadcastText(communicator, mine, rank)}`);
  }
  return `${communicator.size} ranks over ${communicator.name}\n${lines.join('\n')}`;
}

/** Rank `root` gives a text, the others null; all get it. */
export async function broadcastText(communicator: Communicator, text: string | null, root = 0): Promise<string> {
  if (communicator.size === 1) return text ?? '';
  const bytes = new TextEncoder().encode(text ?? '');
  const length = new Uint8Array(new Float64Array([bytes.length]).buffer);
  await communicator.broadcast(length, root);
  const [count] = new Float64Array(length.buffer);
  const whole = communicator.rank === root ? bytes : new Uint8Array(count);
  await communicator.broadcast(whole, root);
  return new TextDecoder().decode(whole);
}

/** Rank 0 first, then the others: what it leaves on the disk they find there. */
export async function leaderFirst<T>(communicator: Communicator, work: () => Promise<T>): Promise<T> {
  if (communicator.rank > 0) await communicator.barrier();
  const result = await work();
  if (communicator.rank === 0) await communicator.barrier();
  return result;
}
