/**
 * npm run soak -- [MINUTES] [--kills N --others N] [--seed N] [--jobs N]
 *
 * Trains one small run over and over while faults happen to it: kills, hang-ups, full disks, lost pipes, second trainers, too few
 * descriptors, cut checkpoints. After each the folder must be whole, and at the end its losses are those of a run that nothing disturbed.
 * With --kills and --others it goes on until that many SIGKILLs and other faults have struck. Prints what was lost and keeps that
 * folder. Exits with 1 when anything was.
 */
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { number } from '../arguments.ts';
import { type Random, randomOf } from '../random.ts';
import { checkFolder, checkpointsOf, complaintOf, dropNewest, type Losses, lossesOf } from './check.ts';
import { DESCRIPTORS, type Fault, faultsOf, KILL, type Wanted } from './faults.ts';
import { firstStep, metricsBytes, STEPS, start, times, trainArguments, writeText } from './run.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    kills: { type: 'string' },
    others: { type: 'string' },
    jobs: { type: 'string', default: '1' },
  },
});
const minutes = number('soak', 'MINUTES', positionals[0] ?? '1');
const seed = number('soak', '--seed', values.seed);
const counted = values.kills !== undefined || values.others !== undefined;
const wanted: Wanted = counted
  ? { kills: number('soak', '--kills', values.kills ?? '0'), others: number('soak', '--others', values.others ?? '0') }
  : { kills: Number.POSITIVE_INFINITY, others: Number.POSITIVE_INFINITY };
const end = counted && positionals[0] === undefined ? Number.POSITIVE_INFINITY : Date.now() + minutes * 60_000;

const root = mkdtempSync(join(tmpdir(), 'lazy-soak-'));
const struck = new Map<string, number>();
let [inSteps, runs, lost] = [0, 0, 0];

const whole = await undisturbed(join(root, 'undisturbed'));
const drawFault = faultsOf(wanted);
await Promise.all(Array.from({ length: number('soak', '--jobs', values.jobs, 1) }, (_, job) => work(job)));
report();

/** Trains once in peace, and takes the times. */
async function undisturbed(folder: string): Promise<Losses> {
  writeText(root);
  const begin = Date.now();
  const running = start(trainArguments(folder, false));
  await firstStep(running, folder, 0);
  times.start = Date.now() - begin;
  const { code, stderr } = await running.ended;
  if (code !== 0) throw new Error(`soak: the undisturbed run failed: ${stderr}`);
  times.steps = Date.now() - begin - times.start;
  times.patience = Math.max(120_000, 30 * (Date.now() - begin));
  return lossesOf(folder);
}

function isOver(): boolean {
  return Date.now() >= end || (wanted.kills <= 0 && wanted.others <= 0);
}

/** One run after the other, each disturbed until it is over. */
async function work(job: number): Promise<void> {
  for (let index = 0; !isOver(); index++) {
    const folder = join(root, `job${job}`);
    await disturbToTheEnd(folder, randomOf(seed, `soak ${job}`, index), `job ${job}, run ${index}`);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function disturbToTheEnd(folder: string, random: Random, label: string): Promise<void> {
  while (!isOver()) {
    const fault = drawFault(random);
    const before = metricsBytes(folder);
    const newest = checkpointsOf(folder).at(-1) ?? 0;
    const {
      ended,
      wrong,
      struck: happened,
    } = await fault.disturb(folder, existsSync(join(folder, 'run.json')), random);
    if (happened) count(fault, metricsBytes(folder) > before);
    const cut = fault.name === 'cut checkpoint' && happened && ended.code !== 0;
    const kept = cut ? dropNewest(folder) : newest;
    const complaint = wrong ?? complaintOf(ended, fault === DESCRIPTORS) ?? checkFolder(folder, whole, kept);
    if (complaint !== null) {
      keep(folder, `${label}, ${fault.name}: ${complaint}`);
      rmSync(folder, { recursive: true, force: true });
      return;
    }
    if ((checkpointsOf(folder).at(-1) ?? 0) >= STEPS) break;
  }
  await finish(folder, label, whole);
}

/** `trained`: the run had taken a step since it was started. */
function count(fault: Fault, trained: boolean): void {
  struck.set(fault.name, (struck.get(fault.name) ?? 0) + 1);
  const all = sum(struck.values());
  if (all % 100 === 0) console.log(`${all} faults, ${runs} runs brought to their end, ${lost} things lost`);
  if (fault !== KILL) {
    wanted.others--;
    return;
  }
  wanted.kills--;
  if (trained) inSteps++;
}

/** Lets the run end undisturbed: every loss is there, and equal. */
async function finish(folder: string, label: string, expected: Losses): Promise<void> {
  const last = await start(trainArguments(folder, existsSync(join(folder, 'run.json')))).ended;
  const found = last.code === 0 ? lossesOf(folder) : new Map<string, number>();
  const equal = found.size === expected.size && [...expected].every(([key, loss]) => found.get(key) === loss);
  if (equal) runs++;
  else keep(folder, `${label}: the run cannot be ended as the undisturbed one (exit ${last.code})\n${last.stderr}`);
}

function keep(folder: string, message: string): void {
  lost++;
  const kept = `${folder}-lost-${lost}`;
  if (existsSync(folder)) cpSync(folder, kept, { recursive: true });
  console.log(`\n${message}\nkept: ${kept}\n`);
}

function report(): void {
  for (const [name, number] of [...struck].sort()) console.log(`${name.padEnd(16)} ${String(number).padStart(6)}`);
  const kills = struck.get(KILL.name) ?? 0;
  const others = sum(struck.values()) - kills;
  console.log(
    `soak: seed ${seed}, ${kills} kills (${inSteps} of them after a step), ${others} other faults, ${runs} runs brought to their end, ${lost} things lost`,
  );
  if (lost === 0) rmSync(root, { recursive: true });
  process.exitCode = lost > 0 ? 1 : 0;
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((total, number) => total + number, 0);
}
