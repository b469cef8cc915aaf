/**
 * npm run soak -- [MINUTES] [--seed N] [--faults N] [--jobs N]
 *
 * Trains one small run over and over while faults happen to it: kills, hang-ups, full disks, lost pipes, second trainers, too few
 * descriptors, cut checkpoints. After each the folder must be whole, and at the end its losses are those of a run that nothing disturbed.
 * Prints what was lost and keeps that folder. Exits with 1 when anything was.
 */
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { number } from '../arguments.ts';
import { type Random, randomOf } from '../random.ts';
import { checkFolder, checkpointsOf, complaintOf, dropNewest, type Losses, lossesOf } from './check.ts';
import { drawFault } from './faults.ts';
import { patience, STEPS, start, trainArguments } from './run.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    faults: { type: 'string' },
    jobs: { type: 'string', default: '1' },
  },
});
const minutes = number('soak', 'MINUTES', positionals[0] ?? '1');
const seed = number('soak', '--seed', values.seed);
const most = values.faults === undefined ? Number.POSITIVE_INFINITY : number('soak', '--faults', values.faults);
const end = values.faults === undefined ? Date.now() + minutes * 60_000 : Number.POSITIVE_INFINITY;

const root = mkdtempSync(join(tmpdir(), 'lazy-soak-'));
const counts = new Map<string, number>();
let [faults, runs, lost] = [0, 0, 0];

const undisturbed = join(root, 'undisturbed');
const begin = Date.now();
const first = await start(trainArguments(undisturbed, false)).ended;
if (first.code !== 0) throw new Error(`soak: the undisturbed run failed: ${first.stderr}`);
const whole = lossesOf(undisturbed);
patience.milliseconds = Math.max(120_000, 30 * (Date.now() - begin));
await Promise.all(Array.from({ length: number('soak', '--jobs', values.jobs, 1) }, (_, job) => work(job)));
for (const [name, count] of [...counts].sort()) console.log(`${name.padEnd(16)} ${String(count).padStart(6)}`);
console.log(`soak: seed ${seed}, ${faults} faults, ${runs} runs brought to their end, ${lost} things lost`);
if (lost === 0) rmSync(root, { recursive: true });
process.exitCode = lost > 0 ? 1 : 0;

/** One run after the other, each disturbed until it is over. */
async function work(job: number): Promise<void> {
  for (let index = 0; faults < most && Date.now() < end; index++) {
    const folder = join(root, `job${job}`);
    await disturbToTheEnd(folder, randomOf(seed, `soak ${job}`, index), `job ${job}, run ${index}`);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function disturbToTheEnd(folder: string, random: Random, label: string): Promise<void> {
  while (faults < most && Date.now() < end) {
    faults++;
    const fault = drawFault(random);
    counts.set(fault.name, (counts.get(fault.name) ?? 0) + 1);
    const newest = checkpointsOf(folder).at(-1) ?? 0;
    const resumed = existsSync(join(folder, 'run.json'));
    const { ended, wrong } = await fault.disturb(folder, resumed, random);
    const cut = fault.name === 'cut checkpoint' && ended.code !== 0;
    const kept = cut ? dropNewest(folder) : newest;
    const complaint = wrong ?? complaintOf(ended) ?? checkFolder(folder, whole, kept);
    if (complaint !== null) {
      report(folder, `${label}, ${fault.name}: ${complaint}`);
      rmSync(folder, { recursive: true, force: true });
      return;
    }
    if ((checkpointsOf(folder).at(-1) ?? 0) >= STEPS) break;
  }
  await finish(folder, label, whole);
}

/** Lets the run end undisturbed: every loss is there, and equal. */
async function finish(folder: string, label: string, expected: Losses): Promise<void> {
  const last = await start(trainArguments(folder, existsSync(join(folder, 'run.json')))).ended;
  const found = last.code === 0 ? lossesOf(folder) : new Map<string, number>();
  const equal = found.size === expected.size && [...expected].every(([key, loss]) => found.get(key) === loss);
  if (equal) runs++;
  else report(folder, `${label}: the run cannot be ended as the undisturbed one (exit ${last.code})\n${last.stderr}`);
}

function report(folder: string, message: string): void {
  lost++;
  const kept = `${folder}-lost-${lost}`;
  if (existsSync(folder)) cpSync(folder, kept, { recursive: true });
  console.log(`\n${message}\nkept: ${kept}\n`);
}
