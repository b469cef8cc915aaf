import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const BIN = fileURLToPath(new URL('../dist/bin.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the built command, below `limits` of ulimit where there are some, perhaps with something to read; `done` resolves when it ends. */
export function start(
  args: readonly string[],
  env: Record<string, string> = {},
  limits = '',
  input: 'ignore' | 'pipe' = 'ignore',
): { child: ChildProcess; done: Promise<Outcome> } {
  const own = [process.execPath, BIN, ...args];
  const [program = '', ...rest] = limits === '' ? own : ['bash', '-c', `ulimit ${limits}; exec "$0" "$@"`, ...own];
  const child = spawn(program, rest, {
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: [input, 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const done = new Promise<Outcome>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  return { child, done };
}

export function run(...args: string[]): Promise<Outcome> {
  return start(args).done;
}

/** A folder that goes with the test. */
export function temporary(): string {
  const path = mkdtempSync(join(tmpdir(), 'lazy-attention-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Of the runs that tests train; another where a build of that backend is what is tested. */
export const BACKEND = process.env.LAZY_ATTENTION_TEST_BACKEND ?? 'reference';

/** What does not change what is computed, and so is said again when a run is resumed. */
export const RHYTHM = [
  ...['--backend', BACKEND, '--eval-windows', '2', '--final-eval-windows', '4', '--sample-tokens', '8'],
];

/** The smallest run that still does everything, in milliseconds per step on the reference backend. */
export const TINY = [
  ...RHYTHM,
  ...['--preset', 'pico', '--context', '16', '--batch', '2', '--steps', '6', '--warmup', '2'],
];

export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
