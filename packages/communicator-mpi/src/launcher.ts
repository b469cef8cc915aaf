/** What started this process as one of several. */
export interface Launcher {
  /** Whose mpirun it is. */
  readonly kind: 'Open MPI' | 'MPICH';
  /** Ranks, by the environment. */
  readonly size: number;
  /** Ranks on this machine; null where nobody says. */
  readonly localSize: number | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads what an mpirun puts into the environment; null for a process that none started. */
export function launcherOf(environment: Environment): Launcher | null {
  const size = numberOf(environment.OMPI_COMM_WORLD_SIZE);
  if (size !== null) return { kind: 'Open MPI', size, localSize: numberOf(environment.OMPI_COMM_WORLD_LOCAL_SIZE) };
  const hydra = numberOf(environment.PMI_SIZE);
  if (hydra !== null) return { kind: 'MPICH', size: hydra, localSize: numberOf(environment.MPI_LOCALNRANKS) };
  return null;
}

/** Names of the library of each, as Linux distributions and macOS have it. */
export const LIBRARIES: Readonly<Record<Launcher['kind'], readonly string[]>> = {
  'Open MPI': ['libmpi.so.40', 'libmpi.so.80', 'libmpi.so', 'libmpi.40.dylib', 'libmpi.dylib'],
  MPICH: ['libmpich.so.12', 'libmpi.so.12', 'libmpich.so', 'libmpi.so', 'libmpi.12.dylib', 'libmpi.dylib'],
};

/** How Debian installs it. */
export const INSTALL: Readonly<Record<Launcher['kind'], string>> = {
  'Open MPI': 'apt-get install openmpi-bin',
  MPICH: 'apt-get install mpich',
};

/** Whose library it is, by what MPI_Get_library_version says. MPICH's relatives share its interface. */
export function kindOfLibrary(version: string): Launcher['kind'] {
  return /open mpi/i.test(version) ? 'Open MPI' : 'MPICH';
}

function numberOf(text: string | undefined): number | null {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}
