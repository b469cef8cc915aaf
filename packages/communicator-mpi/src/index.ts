import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addonPlace, loadBinary, locateAddon, workOn } from '@lazy-attention/native';
import { type Communicator, hostAllReduce } from '@lazy-attention/nn';
import { CommunicatorError } from './errors.ts';
import { INSTALL, kindOfLibrary, type Launcher, LIBRARIES, launcherOf } from './launcher.ts';

export { CommunicatorError, type CommunicatorErrorCode } from './errors.ts';
export { type Launcher, launcherOf } from './launcher.ts';

/** What lazy_mpi.node exports. */
interface Addon {
  start(path: string): { readonly version: string; readonly rank: number; readonly size: number };
  allReduce(values: Float32Array | Float64Array): Promise<void>;
  broadcast(bytes: Uint8Array, root: number): Promise<void>;
  barrier(): Promise<void>;
  finalize(): Promise<void>;
  abort(code: number): void;
}

/** A communicator over MPI, which also sums arrays on the host. */
export interface MpiCommunicator extends Communicator {
  /** Adds up `values` over the ranks, in their order, in place. */
  sum(values: Float32Array | Float64Array): Promise<void>;
}

/**
 * Joins the ranks that `mpirun` started. The library is the one that LAZY_ATTENTION_MPI names, else that of the mpirun.
 * Called once.
 * @throws CommunicatorError MPI_MISSING, MPI_OTHER or MPI_FAILED
 */
export function mpiCommunicator(launcher: Launcher | null = launcherOf(process.env)): MpiCommunicator {
  if (launcher === null) {
    throw new CommunicatorError('MPI_MISSING', 'mpi: no mpirun started this process; start it with: mpirun -n 2 ...');
  }
  const addon = loadAddon();
  const { version, rank, size } = startLibrary(addon, launcher);
  const kind = kindOfLibrary(version);
  const name = version.split(/[\n,]/)[0]!.replace(/\s+/g, ' ').trim();
  if (kind !== launcher.kind || size !== launcher.size) {
    throw new CommunicatorError(
      'MPI_OTHER',
      `mpi: ${launcher.kind}'s mpirun started ${launcher.size} ranks, and the library that was loaded is ${name}, which sees ${size}; use the mpirun of that library, or ${INSTALL[launcher.kind]}, or name the library in LAZY_ATTENTION_MPI`,
    );
  }
  // One call at a time, in the order in which they were made, on whatever thread.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const mine = last.then(work).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CommunicatorError('MPI_FAILED', `mpi: rank ${rank}: ${why}`, { cause });
    });
    last = mine.catch(() => {});
    return mine;
  };
  const sum = (values: Float32Array | Float64Array) =>
    workOn('sum', values, (own) => inTurn(() => addon.allReduce(own)));
  return {
    ...{ name, rank, size, sum },
    allReduce: hostAllReduce(sum),
    broadcast: (bytes, root) => workOn('broadcast', bytes, (own) => inTurn(() => addon.broadcast(own, root))),
    barrier: () => inTurn(() => addon.barrier()),
    close: () => inTurn(() => addon.finalize()),
    abort: (code) => addon.abort(code),
  };
}

function loadAddon(): Addon {
  const directory = dirname(dirname(fileURLToPath(import.meta.url)));
  const packageName = '@lazy-attention/communicator-mpi';
  const located = locateAddon(addonPlace({ name: 'mpi', directory, packageName, file: 'lazy_mpi.node' }));
  if (located.path === null) throw new CommunicatorError('MPI_MISSING', `mpi: ${located.reason}; ${located.fix}`);
  return loadBinary(located.path) as Addon;
}

function startLibrary(addon: Addon, { kind }: Launcher): ReturnType<Addon['start']> {
  const named = process.env.LAZY_ATTENTION_MPI;
  const tried: string[] = [];
  for (const library of named ? [named] : LIBRARIES[kind]) {
    try {
      return addon.start(library);
    } catch (error) {
      tried.push(`${library}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new CommunicatorError(
    'MPI_MISSING',
    `mpi: ${kind}'s mpirun started this process, and its library cannot be loaded (${tried[0]}); ${INSTALL[kind]}, or name the library in LAZY_ATTENTION_MPI`,
  );
}
