import { spawnSync } from 'node:child_process';

/** An mpirun that is installed. */
export interface Mpirun {
  readonly kind: 'Open MPI' | 'MPICH';
  readonly command: string;
  /** For more ranks than cores. */
  readonly flags: readonly string[];
}

/** What Open MPI needs to start ranks for root. */
export const AS_ROOT = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };

/** The library of each, as Debian names it. */
export const LIBRARY = { 'Open MPI': 'libmpi.so.40', MPICH: 'libmpich.so.12' };

/** One of each kind: Debian lets both be there. */
export function installedMpiruns(): Mpirun[] {
  const found = new Map<Mpirun['kind'], Mpirun>();
  for (const command of ['mpirun.openmpi', 'mpirun.mpich', 'mpirun']) {
    const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    const kind = /open mpi|openrte/i.test(stdout ?? '') ? 'Open MPI' : /hydra/i.test(stdout ?? '') ? 'MPICH' : null;
    if (kind === null || found.has(kind)) continue;
    found.set(kind, { kind, command, flags: kind === 'Open MPI' ? ['--oversubscribe'] : [] });
  }
  return [...found.values()];
}
