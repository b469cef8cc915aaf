import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { starvation } from './starvation.ts';

/** What a case did that it must not do. */
export interface Finding {
  readonly target: string;
  readonly seed: number;
  readonly index: number;
  readonly kind: 'crash' | 'hang' | 'memory' | 'untyped';
  readonly message: string;
}

/** Findings with the same key are taken to be one fault: the same kind, message and place, whatever the numbers in it. */
export function keyOf({ target, kind, message }: Finding): string {
  const lines = message.split('\n').map((line) => line.trim());
  const place = lines.find((line) => line.startsWith('at ')) ?? '';
  const first = lines[0]?.replace(/^.*\b(\w*Error: )/, '$1') ?? '';
  return `${target} ${kind} ${`${first} ${place}`.replace(/\d+/g, '#')}`;
}

/** What a stretch of cases came to. */
export interface Stretch {
  readonly tried: number;
  readonly accepted: number;
  readonly finding: Finding | null;
}

/** Limits of one child process. */
export interface Limits {
  /** Longest time of one case, in milliseconds. */
  readonly caseMilliseconds: number;
  /** Largest resident memory of the process, in bytes. */
  readonly residentBytes: number;
}

/** Runs `count` cases from `from` on in a child process, and ends it when a limit is passed. */
export function runStretch(
  target: string,
  seed: number,
  from: number,
  count: number,
  limits: Limits,
): Promise<Stretch> {
  const program = fileURLToPath(new URL('./child.js', import.meta.url));
  const child = spawn(process.execPath, [program, target, String(seed), String(from), String(count)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LAZY_ATTENTION_NO_WARNINGS: '1' },
  });
  return watch(child, { target, seed, from, limits });
}

/** Milliseconds between two looks at a child. */
const TICK = 100;

interface Watched {
  readonly target: string;
  readonly seed: number;
  readonly from: number;
  readonly limits: Limits;
}

function watch(child: ChildProcess, { target, seed, from, limits }: Watched): Promise<Stretch> {
  // Time counted in ticks of this process: one that was suspended together with its child has not waited.
  let [index, waited, tried, accepted] = [from, 0, 0, 0];
  const starved = starvation(child.pid);
  let started = false;
  let finding: Finding | null = null;
  let errors = '';
  const found = (kind: Finding['kind'], message: string) => {
    finding ??= { target, seed, index, kind, message };
  };
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  if (child.stdout === null) throw new Error('supervise: the child has no standard output');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [word, ...rest] = line.split(' ');
    if (word === 'case') [index, waited, started] = [Number(rest[0]), 0, true];
    if (word === 'failed') found('untyped', JSON.parse(rest.join(' ')));
    if (word === 'done') [tried, accepted] = rest.map(Number) as [number, number];
  });
  const timer = setInterval(() => {
    // Making the valid files takes its time, and is no case.
    const patience = started ? limits.caseMilliseconds : 60_000;
    waited += TICK - Math.min(TICK, starved());
    if (waited > patience) found('hang', `no answer for ${patience / 1000} s`);
    const bytes = residentBytes(child.pid);
    if (bytes > limits.residentBytes) found('memory', `${(bytes / 2 ** 20).toFixed(0)} MiB resident`);
    if (finding !== null && (finding.kind === 'hang' || finding.kind === 'memory')) child.kill('SIGKILL');
  }, TICK);
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearInterval(timer);
      if (code !== 0) found('crash', `exit ${code ?? signal}\n${errors}`);
      resolve({ tried: tried || Math.max(0, index - from), accepted, finding });
    });
  });
}

/** Of a process, from Linux's /proc; 0 where there is none. */
function residentBytes(pid: number | undefined): number {
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1];
    return Number(pages) * 4096;
  } catch {
    return 0;
  }
}
