import { readFileSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import * as v from 'valibot';
import { RunError } from '../errors.ts';
import { checked, integer } from '../options/values.ts';
import { readText, writeNew } from './files.ts';

/** Name of the lock in a run folder. */
export const LOCK = 'run.lock';

/** A lock that is held; releasing twice does nothing. */
export interface FolderLock {
  /** Gives the folder back. */
  release(): void;
}

const holder = v.object({
  pid: integer(1).schema,
  host: v.string(),
  /** When the process began, as the system counts it: tells it from a later one with its number. Null where unknown. */
  began: checked('a text or null', (x): x is string | null => x === null || typeof x === 'string'),
  since: v.string(),
});
type Holder = v.InferOutput<typeof holder>;

const held = new Map<string, number>();

/**
 * Makes this process the only one that writes to a run folder. The same process may lock it again.
 *
 * A lock names process and host, so that the one of a process that was killed is known as stale at once; locks that go
 * stale by their age, as proper-lockfile's, refuse a run that is resumed right after a kill.
 * @throws RunError RUN_LOCKED that names the process which has it
 */
export function lockFolder(path: string): FolderLock {
  const folder = resolve(path);
  const file = join(folder, LOCK);
  const count = held.get(folder) ?? 0;
  if (count === 0) take(folder, file);
  held.set(folder, count + 1);
  let released = false;
  return {
    release() {
      if (released) return;
      released = true;
      const left = (held.get(folder) ?? 1) - 1;
      if (left > 0) {
        held.set(folder, left);
        return;
      }
      held.delete(folder);
      if (isOurs(readHolder(file))) rmSync(file, { force: true });
    },
  };
}

function take(folder: string, file: string): void {
  const mine: Holder = {
    pid: process.pid,
    host: hostname(),
    began: beganAt(process.pid),
    since: new Date().toISOString(),
  };
  // Each turn but the last removes a stale lock; who loses a race for the new one finds it held.
  for (let turn = 0; turn < 3; turn++) {
    if (writeNew(file, `${JSON.stringify(mine)}\n`)) return;
    const found = readHolder(file);
    if (found === null) continue;
    if (found === 'unreadable' || !isStale(found)) throw locked(folder, file, found);
    removeStale(file, found);
  }
  throw locked(folder, file, 'unreadable');
}

/** Moved away before it is removed: if another process was quicker, it is that one's lock, and is put back. */
function removeStale(file: string, stale: Holder): void {
  const aside = `${file}.${process.pid}.tmp`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const moved = readHolder(aside);
  if (moved !== null && moved !== 'unreadable' && JSON.stringify(moved) !== JSON.stringify(stale)) {
    writeNew(file, `${JSON.stringify(moved)}\n`);
  }
  rmSync(aside, { force: true });
}

function locked(folder: string, file: string, by: Holder | 'unreadable'): RunError {
  const who =
    by === 'unreadable'
      ? `whoever wrote ${file}`
      : `process ${by.pid} on ${printable(by.host)} since ${printable(by.since)}`;
  return new RunError(
    'RUN_LOCKED',
    `run: ${folder} is in use by ${who}; wait for it or stop it, and if it is gone remove ${file}`,
  );
}

/** A lock may have been written by anyone. */
function printable(text: string): string {
  return text.slice(0, 80).replace(/[^\w.:-]/g, '?');
}

function readHolder(file: string): Holder | null | 'unreadable' {
  let text: string;
  try {
    text = readText(file, 'RUN_LOCKED');
  } catch (error) {
    const cause = error instanceof RunError ? (error.cause as NodeJS.ErrnoException) : null;
    return cause?.code === 'ENOENT' ? null : 'unreadable';
  }
  try {
    return v.parse(holder, JSON.parse(text));
  } catch {
    return 'unreadable';
  }
}

function isOurs(found: Holder | null | 'unreadable'): boolean {
  return found !== null && found !== 'unreadable' && found.pid === process.pid && found.host === hostname();
}

/** Only of a process on this machine can be said that it is gone. */
function isStale({ pid, host, began }: Holder): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  return began !== null && beganAt(pid) !== began;
}

/** Field 22 of Linux's /proc/PID/stat, counted behind the name, which may hold spaces; null elsewhere. A dead process that nobody waited for began never. */
function beganAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 'never' : (fields[19] ?? null);
  } catch {
    return null;
  }
}
