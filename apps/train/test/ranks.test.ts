import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { type Outcome, RHYTHM, run, start, TINY, temporary } from './helpers.ts';

const BIN = fileURLToPath(new URL('../dist/bin.js', import.meta.url));

/** Why there are no ranks here; null: there are. */
function missing(): string | null {
  try {
    return /open mpi/i.test(execFileSync('mpirun', ['--version'], { encoding: 'utf8' }))
      ? null
      : 'mpirun is not Open MPI';
  } catch {
    return 'no mpirun here (apt-get install openmpi-bin)';
  }
}

const reason = missing();

/** `mpirun` of several programs: [ranks, arguments] each. */
function mpirun(
  ...programs: (readonly [number, readonly string[]])[]
): Promise<Outcome> & { kill(sign: string): boolean } {
  const each = programs.flatMap(([ranks, args], i) => [
    ...(i === 0 ? [] : [':']),
    ...['-n', String(ranks), process.execPath, BIN, ...args],
  ]);
  const child = spawn('mpirun', ['--oversubscribe', '--mca', 'odls_base_sigkill_timeout', '4', ...each], {
    env: { ...process.env, NO_COLOR: '1', OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' },
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
    const pid = /rank 1: \S+ process (\d+)/.exec(output.stdout)?.[1];
    if (pid !== undefined) process.kill(Number(pid), sign as NodeJS.Signals);
    return pid !== undefined;
  };
  return Object.assign(done, { kill });
}

const losses = (folder: string) => readMetrics(join(folder, 'metrics.jsonl')).metrics.map(({ loss }) => loss);
const training = [...TINY, '--batch', '4', '--eval-every', '0'];

describe.skipIf(reason !== null)(`ranks over MPI${reason === null ? '' : `: ${reason}`}`, () => {
  it('train what one process trains, the same bits every time', async () => {
    const root = temporary();
    const [one, two, again, pieces] = ['one', 'two', 'again', 'pieces'].map((name) => join(root, name));
    expect((await run('train', ...training, '--out', one)).code).toBe(0);
    const first = await mpirun([2, ['train', ...training, '--out', two]]);
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/2 ranks over Open MPI.*\n {2}rank 0: .*process \d+\n {2}rank 1: .*process \d+/);
    for (const [i, loss] of losses(two).entries()) expect(Math.abs(loss / losses(one)[i] - 1)).toBeLessThan(1e-6);
    expect((await mpirun([2, ['train', ...training, '--out', again]])).code).toBe(0);
    expect(losses(again)).toEqual(losses(two));
    expect((await mpirun([2, ['train', ...training, '--micro-batch', '1', '--out', pieces]])).code).toBe(0);
    for (const [i, loss] of losses(pieces).entries()) expect(Math.abs(loss / losses(one)[i] - 1)).toBeLessThan(1e-6);
  }, 400_000);

  it('stop together when one is told to, and go on in another number', async () => {
    const [out, whole] = [temporary(), temporary()].map((root) => join(root, 'run')) as [string, string];
    const long = [...training, '--steps', '400'];
    const stopping = mpirun([2, ['train', ...long, '--out', out]]);
    await untilSteps(out, 3);
    expect(stopping.kill('SIGTERM')).toBe(true);
    expect((await stopping).stdout).toContain('Saved at step');
    const wanted = losses(out).length + 3;
    const resumed = mpirun([4, ['train', '--resume', ...RHYTHM, '--out', out]]);
    await untilSteps(out, wanted);
    resumed.kill('SIGTERM');
    await resumed;
    const alone = start(['train', ...long, '--out', whole]);
    await untilSteps(whole, wanted);
    alone.child.kill('SIGTERM');
    await alone.done;
    for (let i = 0; i < wanted; i++) expect(Math.abs(losses(out)[i] / losses(whole)[i] - 1)).toBeLessThan(1e-5);
  }, 400_000);

  it('train on two hosts, which are network namespaces, what they train on one', async (context) => {
    const script = fileURLToPath(new URL('../../../packages/communicator-mpi/scripts/two-hosts.sh', import.meta.url));
    const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
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
    const running = mpirun([2, ['train', ...long, '--out', out]]);
    await untilSteps(out, 5);
    running.kill('SIGKILL');
    const { code, stderr } = await running;
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/process rank 1 with PID.*signal 9/s);
    const resumed = mpirun([2, ['train', '--resume', ...RHYTHM, '--out', out]]);
    await untilSteps(out, 12);
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
    expect(() => losses(out)).not.toThrow();
    expect(losses(out)).toEqual([]);
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

  it('says what to do where the library is missing', async () => {
    process.env.LAZY_ATTENTION_MPI = '/nowhere/libmpi.so';
    try {
      const { code, stderr } = await mpirun([1, ['train', ...training, '--out', join(temporary(), 'run')]]);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/\[MPI_MISSING\].*library cannot be loaded.*apt-get install openmpi-bin/);
    } finally {
      delete process.env.LAZY_ATTENTION_MPI;
    }
  });
});

async function untilSteps(folder: string, steps: number): Promise<void> {
  for (let tries = 0; tries < 3000; tries++) {
    try {
      if (losses(folder).length >= steps) return;
    } catch {
      // A line is being written.
    }
    await sleep(20);
  }
  throw new Error(`${folder}: ${steps} steps are not there`);
}
