import { type ChildProcess, spawn } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Random, upTo } from '../random.ts';
import { starvation } from '../starvation.ts';

/** The built command, beside the package's entry. */
const BIN = join(dirname(fileURLToPath(import.meta.resolve('lazy-attention'))), 'bin.js');

/** What does not change what is computed, and so is said again when a run is resumed. */
const INTERVALS = [
  ...['--backend', 'reference', '--eval-windows', '2', '--final-eval-windows', '2', '--sample-tokens', '4'],
  ...['--checkpoint-every', '1', '--eval-every', '10', '--keep', '2'],
];
const SIZES = [
  ...['--preset', 'pico', '--layers', '1', '--width', '16', '--heads', '2', '--mlp-width', '16'],
  ...['--context', '16', '--batch', '2', '--warmup', '2', '--seed', '7'],
];

/** Steps of the run that is disturbed. It is small, so that most of the time goes into what is written. */
export const STEPS = 40;

/** Writes the text that is trained on into `root`. */
export function writeText(root: string): void {
  const lines = Array.from({ length: 400 }, (_, i) => `Line ${i}: it was the best of times, ${i * i} times the worst.`);
  writeFileSync(join(root, 'text.txt'), lines.join('\n'));
}

/** Arguments of a run, beside the text, from its beginning, or of one that goes on. */
export function trainArguments(folder: string, resumed: boolean): string[] {
  const rest = resumed ? ['--resume'] : [join(dirname(folder), 'text.txt'), ...SIZES, '--steps', String(STEPS)];
  return ['train', ...rest, ...INTERVALS, '--out', folder];
}

/** How a process ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Milliseconds between two looks at a child. */
const TICK = 500;

/** What the undisturbed run took, in milliseconds. */
export const times = {
  /** Longest time of one command before it counts as a hang. */
  patience: 600_000,
  /** From the start of Node to the first step, and from there to the end. */
  start: 1000,
  steps: 3000,
};

/** Starts the command, below the limits of `ulimit` where some are given. */
export function start(args: readonly string[], limits = ''): Running {
  const own = [process.execPath, BIN, ...args];
  const [program = '', ...rest] = limits === '' ? own : ['bash', '-c', `ulimit ${limits}; exec "$0" "$@"`, ...own];
  const child = spawn(program, rest, {
    env: { ...process.env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  // In ticks of this process, which may be suspended together with its child, and without the time in which that had no core.
  const starved = starvation(child.pid);
  let waited = 0;
  const timer = setInterval(() => {
    waited += TICK - Math.min(TICK, starved());
    if (waited < times.patience) return;
    output.stderr += `\nsoak: no end after ${times.patience / 1000} s`;
    child.kill('SIGKILL');
  }, TICK);
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      clearInterval(timer);
      resolve({ code, signal, ...output });
    });
  });
  return { child, ended };
}

/** Whether it has not ended, as far as this process knows. */
export function isAlive({ child }: Running): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Bytes of a run's metrics, which grow with every step. */
export function metricsBytes(folder: string): number {
  return statSync(join(folder, 'metrics.jsonl'), { throwIfNoEntry: false })?.size ?? 0;
}

/** Waits until the run in `folder` has taken a step more, or has ended. `before`: bytes of its metrics at the start. */
export async function firstStep(running: Running, folder: string, before: number): Promise<void> {
  while (isAlive(running) && metricsBytes(folder) <= before) await sleep(10);
}

/**
 * Waits for a random moment: every fifth time one of the start of Node, else one of the `share` of the steps that are left; of these
 * half are early, so that a run is disturbed often before it is over.
 */
export async function randomMoment(running: Running, folder: string, share: number, random: Random): Promise<void> {
  const before = metricsBytes(folder);
  if (random() < 0.2) return sleep(upTo(random, times.start));
  await firstStep(running, folder, before);
  await sleep(upTo(random, times.steps * share * (random() < 0.5 ? 0.25 : 1)));
}
