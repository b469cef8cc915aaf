/**
 * Training by ranks over MPI beside what the machine could give at most, in turn:
 *
 *   node tools/bench/dist/ranks.js [--preset NAME] [--batch N] [--steps N] [--rounds N] [--output FILE]
 *
 * Every program computes with one thread a process: one process; two ranks, which share each batch; two processes that know
 * nothing of each other, each with half of the batch, which is the bound for two ranks. Medians of the times between steps.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './measure.ts';

const { values } = parseArgs({
  options: {
    preset: { type: 'string', default: 'nano' },
    batch: { type: 'string', default: '16' },
    steps: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '2' },
    output: { type: 'string' },
  },
});
const [batch, steps, rounds] = [values.batch, values.steps, values.rounds].map(Number) as [number, number, number];
if (![batch, steps, rounds].every((count) => Number.isInteger(count) && count > 0) || batch % 2 !== 0 || steps < 10) {
  throw new Error('ranks: --batch is an even number, --steps at least 10, --rounds at least 1');
}

const COMMAND = fileURLToPath(new URL('../../../apps/train/dist/bin.js', import.meta.url));
/** Steps before the times settle. */
const WARMUP = 5;

/** Milliseconds from each step of a run to the next. */
function timesOf(folder: string): number[] {
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const seconds = lines
    .map((line) => JSON.parse(line))
    .flatMap(({ type, seconds }) => (type === 'train' ? seconds : []));
  return seconds.slice(1).flatMap((now, i) => (i < WARMUP ? [] : [1000 * (now - (seconds[i] as number))]));
}

/** Runs `before` and a training of its own for each folder, all at once. */
async function trained(folders: readonly string[], size: number, before: readonly string[] = []): Promise<number[]> {
  const rhythm = ['--eval-every', '0', '--checkpoint-every', '1000000', '--final-eval-windows', '1'];
  const runs = folders.map((out) => {
    const sizes = ['--preset', values.preset, '--batch', String(size), '--steps', String(steps)];
    const train = [COMMAND, 'train', 'moby-dick', ...sizes, ...rhythm, '--backend', 'cpu', '--out', out];
    const [program, ...rest] = [...before, process.execPath, ...train] as [string, ...string[]];
    const as = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1', LAZY_ATTENTION_THREADS: '1' };
    const child = spawn(program, rest, { env: { ...process.env, ...as }, stdio: ['ignore', 'ignore', 'inherit'] });
    return new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`))));
    });
  });
  await Promise.all(runs);
  return folders.flatMap(timesOf);
}

const programs = {
  'one process': (out: string) => trained([out], batch),
  'two ranks': (out: string) => trained([out], batch, ['mpirun', '-n', '2']),
  'two processes, half a batch each': (out: string) => trained([`${out}-a`, `${out}-b`], batch / 2),
};

const root = mkdtempSync(join(tmpdir(), 'lazy-attention-ranks-'));
const times = Object.fromEntries(Object.keys(programs).map((name) => [name, [] as number[]]));
try {
  for (let round = 0; round < rounds; round++) {
    for (const [i, [name, run]] of Object.entries(programs).entries()) {
      times[name]?.push(...(await run(join(root, `${round}-${i}`))));
    }
  }
} finally {
  rmSync(root, { recursive: true });
}

const medians = Object.entries(times).map(([name, all]) => [name, median(all)] as const);
const one = medians[0]?.[1] as number;
console.log(`${values.preset}, ${batch} sequences a step, one thread a process, ${cpus()[0]?.model}`);
console.log('| program | median ms a step | pace |\n|---|---:|---:|');
for (const [name, ms] of medians) console.log(`| ${name} | ${ms.toFixed(1)} | ${(one / ms).toFixed(2)} |`);
if (values.output !== undefined) {
  const about = { date: new Date().toISOString(), processor: cpus()[0]?.model, preset: values.preset, batch, steps };
  writeFileSync(values.output, `${JSON.stringify({ ...about, milliseconds: times })}\n`);
}
