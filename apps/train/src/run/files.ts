import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { RunError, type RunErrorCode } from '../errors.ts';

// Windows has neither; there is nothing to guard against there.
const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>;

/**
 * Writes beside, syncs and renames, so that a kill or a full disk at any moment leaves the old file whole. A symbolic
 * link at `path` is replaced, not followed.
 */
export function writeWhole(path: string, text: string): void {
  place(path, text, renameSync);
}

/** As `writeWhole`, for a file that must not be there yet. False when it is: of two writers at once one wins. */
export function writeNew(path: string, text: string): boolean {
  let made = true;
  place(path, text, (temporary) => {
    try {
      linkSync(temporary, path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (code === 'EEXIST') made = false;
      else if (['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(code)) made = writeExclusively(path, text);
      else throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
  });
  return made;
}

/** For file systems without hard links. */
function writeExclusively(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx', flush: true });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function place(path: string, text: string, move: (temporary: string, path: string) => void): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = openSync(temporary, 'wx');
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    move(temporary, path);
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

/** Appends a line whole or not at all: what a full disk took of it is cut off again. Symbolic links are not followed. */
export function appendLine(path: string, line: string): void {
  try {
    const { O_WRONLY, O_APPEND, O_CREAT } = constants;
    const file = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o666);
    try {
      const status = fstatSync(file);
      if (!status.isFile()) throw new Error('it is no regular file');
      try {
        const bytes = Buffer.from(`${line}\n`);
        for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
      } catch (error) {
        ftruncateSync(file, status.size);
        throw error;
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw writeError(path, error);
  }
}

/** The text of a regular file; a pipe or a device, which might never end, is refused. @throws Error with the reason */
export function textOfFile(path: string): string {
  const file = openSync(path, constants.O_RDONLY | O_NONBLOCK);
  try {
    if (!fstatSync(file).isFile()) throw new Error('it is no regular file');
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/** As `textOfFile`. @throws RunError `code` */
export function readText(path: string, code: RunErrorCode): string {
  try {
    return textOfFile(path);
  } catch (error) {
    throw new RunError(code, `run: ${path} cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}

/** JSON of a regular file. @throws RunError RUN_RECORD */
export function readJson(path: string): unknown {
  const text = readText(path, 'RUN_RECORD');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RunError('RUN_RECORD', `run: ${path} cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}

/** Makes a folder and those that it is in. @throws RunError RUN_WRITE */
export function makeFolder(path: string): void {
  try {
    makeEach(resolve(path));
  } catch (error) {
    throw writeError(path, error);
  }
}

/** One at a time: Node's `recursive` tries for ever in a place that makes no folders, such as /proc. */
function makeEach(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  if (dirname(path) !== path) makeEach(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}

/** What is said of every file or folder that cannot be written. */
export function writeError(path: string, error: unknown): RunError {
  if (error instanceof RunError) return error;
  return new RunError(
    'RUN_WRITE',
    `run: cannot write ${path}: ${reasonOf(error)}; what was there before is unchanged`,
    {
      cause: error,
    },
  );
}

/** The message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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
