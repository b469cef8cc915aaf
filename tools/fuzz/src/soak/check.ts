import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openRun, readMetrics } from 'lazy-attention';
import type { Ended } from './run.ts';

/** Loss by 'type step' of every line of a run's metrics. */
export type Losses = ReadonlyMap<string, number>;

/** Reads the losses of a run. @throws Error where a step stands twice */
export function lossesOf(folder: string): Losses {
  const losses = new Map<string, number>();
  for (const { type, step, loss } of readMetrics(join(folder, 'metrics.jsonl')).metrics) {
    const key = `${type} ${step}`;
    if (losses.has(key)) throw new Error(`${key} stands twice in metrics.jsonl`);
    losses.set(key, loss);
  }
  return losses;
}

/** Steps of the checkpoints, oldest first. */
export function checkpointsOf(folder: string): number[] {
  const path = join(folder, 'checkpoints');
  if (!existsSync(path)) return [];
  const names = readdirSync(path).filter((name) => /^step-\d+$/.test(name));
  return names.map((name) => Number(name.slice(5))).sort((a, b) => a - b);
}

/** Node's own, before the command's first line: without a descriptor it cannot open a module, or the package.json that names it. */
function isLoaders(stderr: string): boolean {
  return /node:internal\/modules/.test(stderr) && /EMFILE|ERR_MODULE_NOT_FOUND|Cannot find package/.test(stderr);
}

/** Exit codes of SIGHUP, SIGINT and SIGTERM, which need no explanation. */
const ASKED = [129, 130, 143];

/** Of its folder. */
export function checkpointName(step: number): string {
  return `step-${String(step).padStart(8, '0')}`;
}

/** A process that ended by itself must have said why in a sentence. `descriptors`: it had too few of them. */
export function complaintOf({ code, signal, stderr }: Ended, descriptors: boolean): string | null {
  if (/no end after/.test(stderr)) return `hangs: ${stderr}`;
  if (signal === 'SIGABRT' || signal === 'SIGSEGV' || signal === 'SIGBUS') return `dies of ${signal}: ${stderr}`;
  if (descriptors && isLoaders(stderr)) return null;
  if (/^\s+at .*[:)]\d+/m.test(stderr) || /^(Type|Range|Reference|Syntax)Error/m.test(stderr)) {
    return `an untyped error: ${stderr}`;
  }
  if (code !== 0 && code !== null && !ASKED.includes(code) && stderr.trim() === '')
    return `exit ${code} without a word`;
  return null;
}

/**
 * What a run must still be after any fault: readable, with every loss that it records equal to the undisturbed run's, none missing up
 * to the last checkpoint, and that checkpoint not older than before.
 */
export function checkFolder(folder: string, whole: Losses, newestBefore: number): string | null {
  if (!existsSync(join(folder, 'run.json'))) return newestBefore > 0 ? 'run.json is gone' : null;
  try {
    openRun(folder);
    const losses = lossesOf(folder);
    for (const [key, loss] of losses) {
      if (loss !== whole.get(key)) return `the loss of ${key} is ${loss}; undisturbed it is ${whole.get(key)}`;
    }
    const newest = checkpointsOf(folder).at(-1) ?? 0;
    if (newest < newestBefore) return `the newest checkpoint is of step ${newest}; it was of step ${newestBefore}`;
    for (let step = 1; step <= newest; step++) if (!losses.has(`train ${step}`)) return `step ${step} has no loss`;
    return null;
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : error}`;
  }
}

/** Takes the newest checkpoint away, as the message of a damaged one says. Returns the step of the one before. */
export function dropNewest(folder: string): number {
  const steps = checkpointsOf(folder);
  const newest = steps.at(-1);
  if (newest === undefined) return 0;
  rmSync(join(folder, 'checkpoints', checkpointName(newest)), { recursive: true });
  return steps.at(-2) ?? 0;
}
