import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { launcherOf } from '../src/index.ts';
import { AS_ROOT, installedMpiruns, LIBRARY } from './mpiruns.ts';

const built = fileURLToPath(new URL('../dist/index.js', import.meta.url));
const program = fileURLToPath(new URL('./ranks.mjs', import.meta.url));

const mpiruns = existsSync(built) ? installedMpiruns() : [];
const why = existsSync(built) ? 'no mpirun here (apt-get install openmpi-bin, or mpich)' : 'not built';

describe('launcherOf', () => {
  it('knows Open MPI, MPICH and neither', () => {
    expect(launcherOf({ OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_SIZE: '2' })).toEqual({
      ...{ kind: 'Open MPI', size: 4, localSize: 2 },
    });
    expect(launcherOf({ PMI_SIZE: '2' })).toEqual({ kind: 'MPICH', size: 2, localSize: null });
    expect(launcherOf({ PATH: '/bin', PMI_SIZE: 'x' })).toBeNull();
  });
});

if (mpiruns.length === 0) it.skip(`ranks: ${why}`);

describe.each(mpiruns)('ranks of $kind', ({ kind, command, flags }) => {
  it.each([1, 2, 3, 4])(
    '%d: sums in the order of ranks, texts from any of them',
    (ranks) => {
      const output = execFileSync(command, [...flags, '-n', String(ranks), process.execPath, program], {
        ...{ encoding: 'utf8', env: { ...process.env, ...AS_ROOT } },
      });
      const lines = output.split('\n').filter((line) => line.startsWith('{'));
      expect(lines.map((line) => JSON.parse(line).rank).sort()).toEqual([...Array(ranks).keys()]);
      for (const line of lines) expect(JSON.parse(line)).toMatchObject({ size: ranks, wrong: 0, text: 'hello' });
    },
    120_000,
  );

  it('refuse a library that is not that of the mpirun', () => {
    // As the other's mpirun would start it, where only this library is there.
    const [other, size] =
      kind === 'Open MPI' ? ['MPICH', { PMI_SIZE: '1' }] : ['Open MPI', { OMPI_COMM_WORLD_SIZE: '1' }];
    const { status, stderr } = spawnSync(process.execPath, [program], {
      ...{ encoding: 'utf8', env: { ...process.env, ...size, LAZY_ATTENTION_MPI: LIBRARY[kind] } },
    });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(
      new RegExp(
        `${other}'s mpirun started 1 ranks, and the library that was loaded is ${kind}.*use the mpirun of that`,
      ),
    );
    expect(stderr).toContain("code: 'MPI_OTHER'");
  }, 60_000);
});
