import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { launcherOf } from '../src/index.ts';

const built = fileURLToPath(new URL('../dist/index.js', import.meta.url));
const program = fileURLToPath(new URL('./ranks.mjs', import.meta.url));

/** Why ranks cannot be started here; '' if they can. */
function missing(): string {
  if (!existsSync(built)) return 'not built';
  try {
    execFileSync('mpirun', ['--version'], { stdio: 'ignore' });
    return '';
  } catch {
    return 'no mpirun here (apt-get install openmpi-bin)';
  }
}

describe('launcherOf', () => {
  it('knows Open MPI, MPICH and neither', () => {
    expect(launcherOf({ OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_SIZE: '2' })).toEqual({
      ...{ kind: 'Open MPI', size: 4, localSize: 2 },
    });
    expect(launcherOf({ PMI_SIZE: '2' })).toEqual({ kind: 'MPICH', size: 2, localSize: null });
    expect(launcherOf({ PATH: '/bin', PMI_SIZE: 'x' })).toBeNull();
  });
});

const why = missing();

describe.skipIf(why !== '')(`ranks${why === '' ? '' : `: ${why}`}`, () => {
  it.each([1, 2, 3])(
    '%d: sums in the order of ranks, texts from any of them',
    (ranks) => {
      const environment = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
      const oversubscribe = /open mpi/i.test(execFileSync('mpirun', ['--version'], { encoding: 'utf8' }))
        ? ['--oversubscribe']
        : [];
      const output = execFileSync('mpirun', [...oversubscribe, '-n', String(ranks), process.execPath, program], {
        ...{ encoding: 'utf8', env: environment },
      });
      const lines = output.split('\n').filter((line) => line.startsWith('{'));
      expect(lines.map((line) => JSON.parse(line).rank).sort()).toEqual([...Array(ranks).keys()]);
      for (const line of lines) expect(JSON.parse(line)).toMatchObject({ size: ranks, wrong: 0, text: 'hello' });
    },
    120_000,
  );

  it('refuses a library that is not that of the mpirun', (context) => {
    if (!/open mpi/i.test(execFileSync('mpirun', ['--version'], { encoding: 'utf8' }))) {
      return context.skip('the library here is not Open MPI');
    }
    // As MPICH's mpirun would start it.
    const environment = { ...process.env, PMI_SIZE: '1', LAZY_ATTENTION_MPI: 'libmpi.so.40' };
    const { status, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8', env: environment });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(
      /MPICH's mpirun started 1 ranks, and the library that was loaded is Open MPI.*use the mpirun of that library/,
    );
    expect(stderr).toContain("code: 'MPI_OTHER'");
  }, 60_000);
});
