import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { AS_ROOT, installedMpiruns, LIBRARY, type Mpirun } from '../../../packages/communicator-mpi/test/mpiruns.ts';
import { readMetrics } from '../src/index.ts';
import { type Outcome, RHYTHM, run, start, TINY, temporary } from './helpers.ts';

const APP = fileURLToPath(new URL('..', import.meta.url));
const BIN = join(APP, 'dist', 'bin.js');

const mpiruns = installedMpiruns();

/** Time to save after a signal, which Open MPI also waits where a rank has ended the run. */
const PATIENT = { 'Open MPI': ['--mca', 'odls_base_sigkill_timeout', '4'], MPICH: [] };

/** Ranks of a program, its arguments, and where it is not the built one, its path. */
type Program = readonly [ranks: number, args: readonly string[], bin?: string];

/** Starts programs as the ranks of one mpirun. */
function startRanks(
  { command, flags }: Mpirun,
  programs: readonly Program[],
  env: Record<string, string> = {},
): Promise<Outcome> & { kill(sign: string): boolean } {
  const each = programs.flatMap(([ranks, args, bin = BIN], i) => [
    ...(i === 0 ? [] : [':']),
    ...['-n', String(ranks), process.execPath, bin, ...args],
  ]);
  const child = spawn(command, [...flags, ...each], {
    env: { ...process.env, NO_COLOR: '1', ...AS_ROOT, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const done = new Promise<Outcome>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  /** Kills rank 1, by the number that the first lines tell. */
  const kill = (sign: string) => {
    const pid = pidOf(1, output.stdout);
    if (pid !== undefined) process.kill(Number(pid), sign as NodeJS.Signals);
    return pid !== undefined;
  };
  return Object.assign(done, { kill });
}

function pidOf(rank: number, stdout: string): string | undefined {
  return new RegExp(`rank ${rank}: \\S+ process (\\d+)`).exec(stdout)?.[1];
}

/** The built program again, of another version. */
function otherVersion(): string {
  const root = temporary();
  for (const part of ['dist', 'package.json']) cpSync(join(APP, part), join(root, part), { recursive: true });
  symlinkSync(join(APP, '../../node_modules'), join(root, 'node_modules'));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(root, 'package.json'), JSON.stringify({ ...manifest, version: '0.0.7' }));
  return join(root, 'dist', 'bin.js');
}

const losses = (folder: string) => readMetrics(join(folder, 'metrics.jsonl')).metrics.map(({ loss }) => loss);

const training = [...TINY, '--batch', '4', '--eval-every', '0'];

if (mpiruns.length === 0) it.skip('ranks over MPI: no mpirun here (apt-get install openmpi-bin, or mpich)');

describe.each(mpiruns)('ranks over $kind', (mpi) => {
  const mpirun = (...programs: Program[]) => startRanks(mpi, programs);
  const patient = (...programs: Program[]) =>
    startRanks({ ...mpi, flags: [...mpi.flags, ...PATIENT[mpi.kind]] }, programs);

  it('train what one process trains, the same bits every time', async () => {
    const root = temporary();
    const near = (out: string) => {
      for (const [i, loss] of losses(out).entries()) expect(Math.abs(loss / losses(one)[i] - 1)).toBeLessThan(1e-6);
    };
    const one = join(root, 'one');
    expect((await run('train', ...training, '--out', one)).code).toBe(0);
    for (const ranks of [1, 2, 4]) {
      const [first, again] = ['first', 'again'].map((name) => join(root, `${name}-${ranks}`)) as [string, string];
      for (const out of [first, again]) {
        const { code, stdout, stderr } = await mpirun([ranks, ['train', ...training, '--out', out]]);
        expect(code, stderr).toBe(0);
        if (ranks > 1) expect(stdout).toContain(`${ranks} ranks over ${mpi.kind} `);
        for (let rank = 0; rank < ranks && ranks > 1; rank++) expect(pidOf(rank, stdout)).toBeDefined();
      }
      near(first);
      expect(losses(again)).toEqual(losses(first));
    }
    const pieces = join(root, 'pieces');
    expect((await mpirun([2, ['train', ...training, '--micro-batch', '1', '--out', pieces]])).code).toBe(0);
    near(pieces);
  }, 400_000);

  it('stop together when one is told to, and go on in another number', async () => {
    const [out, whole] = [temporary(), temporary()].map((root) => join(root, 'run')) as [string, string];
    const long = [...training, '--steps', '400'];
    const stopping = patient([2, ['train', ...long, '--out', out]]);
    await untilSteps(out, 3, stopping);
    expect(stopping.kill('SIGTERM')).toBe(true);
    expect((await stopping).stdout).toContain('Saved at step');
    const wanted = losses(out).length + 3;
    const resumed = patient([4, ['train', '--resume', ...RHYTHM, '--out', out]]);
    await untilSteps(out, wanted, resumed);
    resumed.kill('SIGTERM');
    await resumed;
    const alone = start(['train', ...long, '--out', whole]);
    await untilSteps(whole, wanted, alone.done);
    alone.child.kill('SIGTERM');
    await alone.done;
    for (let i = 0; i < wanted; i++) expect(Math.abs(losses(out)[i] / losses(whole)[i] - 1)).toBeLessThan(1e-5);
  }, 400_000);

  it('train on two hosts, which are network namespaces, what they train on one', async (context) => {
    if (mpi.kind === 'MPICH') return context.skip('the script that makes the hosts starts Open MPI');
    const script = fileURLToPath(new URL('../../../packages/communicator-mpi/scripts/two-hosts.sh', import.meta.url));
    const env = { ...process.env, ...AS_ROOT };
    const tried = spawnSync(script, ['true'], { env, encoding: 'utf8' });
    if (tried.status !== 0)
      return context.skip(`no network namespaces here: ${tried.error ?? tried.stderr.slice(0, 200)}`);
    const [one, two] = ['one', 'two'].map((name) => join(temporary(), name)) as [string, string];
    expect((await mpirun([2, ['train', ...training, '--out', one]])).code).toBe(0);
    const ran = spawnSync(script, [process.execPath, BIN, 'train', ...training, '--out', two], {
      env,
      encoding: 'utf8',
    });
    expect(ran.status, ran.stderr).toBe(0);
    expect(losses(two)).toEqual(losses(one));
  }, 400_000);

  it('cut the state of the optimiser over themselves: the same bits and checkpoint, and any number goes on', async () => {
    const root = temporary();
    const [whole, cut, more] = ['whole', 'cut', 'more'].map((name) => join(root, name)) as [string, string, string];
    const steps = ['--checkpoint-every', '4'];
    expect((await mpirun([2, ['train', ...training, ...steps, '--out', whole]])).code).toBe(0);
    for (const out of [cut, more]) {
      const done = await mpirun([2, ['train', ...training, ...steps, '--shard-optimizer', '--out', out]]);
      expect(done.code, done.stderr).toBe(0);
    }
    expect(losses(cut)).toEqual(losses(whole));
    const state = (out: string) => readFileSync(join(out, 'checkpoints', 'step-00000004', 'optimizer.safetensors'));
    expect(state(cut).equals(state(whole))).toBe(true);
    for (const [ranks, out] of [
      [1, whole],
      [2, cut],
      [4, more],
    ] as const) {
      rmSync(join(out, 'checkpoints', 'step-00000006'), { recursive: true });
      const resumed = await mpirun([ranks, ['train', '--resume', ...RHYTHM, '--out', out]]);
      expect(resumed.code, resumed.stderr).toBe(0);
    }
    for (const [i, loss] of losses(whole).entries()) {
      expect(Math.abs(losses(cut)[i] / loss - 1)).toBeLessThan(1e-6);
      expect(Math.abs(losses(more)[i] / loss - 1)).toBeLessThan(1e-6);
    }
  }, 400_000);

  it('a rank that is killed ends the run by its name, and the last checkpoint resumes', async () => {
    const out = join(temporary(), 'run');
    const long = [...training, '--steps', '300', '--checkpoint-every', '2'];
    const running = patient([2, ['train', ...long, '--out', out]]);
    await untilSteps(out, 5, running);
    running.kill('SIGKILL');
    const { code, stdout, stderr } = await running;
    expect(code).not.toBe(0);
    // MPICH names a process that it saw end, which the first lines say the rank of; it may be one that it has killed itself.
    if (mpi.kind === 'Open MPI') expect(stderr).toMatch(/process rank 1 with PID.*signal 9/s);
    else
      expect(stdout + stderr).toMatch(
        new RegExp(`PID (${pidOf(0, stdout)}|${pidOf(1, stdout)}) RUNNING AT .*EXIT CODE: 9`, 's'),
      );
    const resumed = patient([2, ['train', '--resume', ...RHYTHM, '--out', out]]);
    await untilSteps(out, 12, resumed);
    resumed.kill('SIGTERM');
    expect((await resumed).stdout).toContain('Saved at step');
  });

  it('refuses ranks with other options, and a batch that they do not divide, before anything is made', async () => {
    const out = join(temporary(), 'run');
    const other = await mpirun(
      [1, ['train', ...training, '--out', out]],
      [1, ['train', ...training, '--lr', '0.5', '--out', out]],
    );
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/rank 1 of 2 ends the run: .*rank 1 has training.learningRate 0.5, and rank 0 0.003/);
    const uneven = await mpirun([3, ['train', ...training, '--out', out]]);
    expect(uneven.stderr).toContain('--batch 4 cannot be shared by 3 ranks; choose a multiple: 6');
    const pieces = await mpirun([2, ['train', ...training, '--batch', '12', '--micro-batch', '4', '--out', out]]);
    expect(pieces.stderr).toContain(
      'each of 2 ranks has 6 of 12 sequences, which --micro-batch 4 does not divide; choose a divisor of 6',
    );
    expect(existsSync(out)).toBe(false);
  });

  it('refuses ranks of another version, and ranks that are to do something else, before anything is made', async () => {
    const out = join(temporary(), 'run');
    const args = ['train', ...training, '--out', out];
    const old = await mpirun([1, args], [1, args, otherVersion()]);
    expect(old.code).toBe(2);
    expect(old.stderr).toMatch(/rank 1 of 2 ends the run: .*rank 1 has version "0.0.7", and rank 0 "\d/);
    for (const flag of ['--resume', '--plan']) {
      const other = await mpirun([1, args], [1, ['train', ...training, flag, '--out', out]]);
      expect(other.code).toBe(2);
      expect(other.stderr).toContain(`rank 1 has task "${flag}", and rank 0 "begin"`);
    }
    expect(existsSync(out)).toBe(false);
  });

  it('--plan is said once, of the share that each rank has', async () => {
    const options = [...training, '--plan', '--json'];
    const { memory } = JSON.parse((await run('train', ...options)).stdout);
    const { code, stdout, stderr } = await mpirun([2, ['train', ...options]]);
    expect(code, stderr).toBe(0);
    const shared = JSON.parse(stdout);
    expect(shared).toMatchObject({ tokensPerStep: 64, memory: { weights: memory.weights } });
    expect(shared.memory.logits).toBe(memory.logits / 2);
  });

  it.each([['compare'], ['study', 'tau']])('do not each do what %s does', async (...command) => {
    const out = join(temporary(), 'out');
    const { code, stderr } = await mpirun([2, [...command, ...TINY, '--out', out]]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/an mpirun started 2 processes, .*; start it without mpirun/);
    expect(existsSync(out)).toBe(false);
  });

  it.each([
    [
      'missing',
      { LAZY_ATTENTION_MPI: '/nowhere/libmpi.so' },
      /\[MPI_MISSING\].*library cannot be loaded.*apt-get install/,
    ],
    [
      'no library of MPI',
      { LAZY_ATTENTION_MPI: 'libm.so.6' },
      /\[MPI_MISSING\].*it is no MPI library.*apt-get install/,
    ],
    [
      'of the other kind',
      { LAZY_ATTENTION_MPI: LIBRARY[mpi.kind === 'MPICH' ? 'Open MPI' : 'MPICH'] },
      /\[MPI_OTHER\].*use the mpirun of that library/,
    ],
  ] as const)('say what to do where the library is %s', async (what, env, says) => {
    if (what === 'of the other kind' && mpiruns.length < 2) return;
    const out = join(temporary(), 'run');
    const { code, stderr } = await startRanks(mpi, [[1, ['train', ...training, '--out', out]]], env);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(says);
    expect(existsSync(out)).toBe(false);
  });
});

/** Waits for steps of a run that goes on. */
async function untilSteps(folder: string, steps: number, running: Promise<Outcome>): Promise<void> {
  let ended: Outcome | null = null;
  running.then((outcome) => {
    ended = outcome;
  });
  for (let tries = 0; tries < 3000 && ended === null; tries++) {
    try {
      if (losses(folder).length >= steps) return;
    } catch {
      // A line is being written.
    }
    await sleep(20);
  }
  throw new Error(`${folder}: ${steps} steps are not there: ${JSON.stringify(ended)}`);
}
