import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The built command, beside the package's entry. */
const BIN = join(dirname(fileURLToPath(import.meta.resolve('lazy-attention'))), 'bin.js');

/** What does not change what is computed, and so is said again when a run is resumed. */
const INTERVALS = [
  ...['--backend', 'reference', '--eval-windows', '2', '--final-eval-windows', '2', '--sample-tokens', '4'],
  ...['--checkpoint-every', '1', '--eval-every', '10', '--keep', '2'],
];
const SIZES = ['--preset', 'pico', '--context', '16', '--batch', '2', '--warmup', '2', '--seed', '7'];

/** Steps of the run that is disturbed: a few seconds, so that most faults fall within it. */
export const STEPS = 120;

/** Arguments of a run from its beginning, or of one that goes on. */
export function trainArguments(folder: string, resumed: boolean): string[] {
  const rest = resumed ? ['--resume'] : [...SIZES, '--steps', String(STEPS)];
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

/** Longest time of one command, in milliseconds, before it counts as a hang; the undisturbed run sets it. */
export const patience = { milliseconds: 600_000 };

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
  const timer = setTimeout(() => {
    output.stderr += `\nsoak: no end after ${patience.milliseconds / 1000} s`;
    child.kill('SIGKILL');
  }, patience.milliseconds);
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ...output });
    });
  });
  return { child, ended };
}
