import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { RunError } from '../errors.ts';

/** Writes beside, syncs and renames, so that a kill or a full disk at any moment leaves the old file whole. */
export function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = openSync(temporary, 'w');
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // Where nothing can be written nothing can be removed; the first error says why.
    }
    throw writeError(path, error);
  }
}

export function writeError(path: string, error: unknown): RunError {
  const reason = error instanceof Error ? error.message : String(error);
  return new RunError('RUN_WRITE', `run: cannot write ${path}: ${reason}; what was there before is unchanged`, {
    cause: error,
  });
}

function syncFolder(path: string): void {
  // Windows cannot open a folder; there the rename is as durable as it gets.
  if (process.platform === 'win32') return;
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
