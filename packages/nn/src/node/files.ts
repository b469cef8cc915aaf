import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ByteSource } from '../checkpoint/source.ts';
import { CheckpointError } from '../errors.ts';

export interface FileDigest {
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Makes a folder and those that it is in, one at a time: Node's `recursive` tries for ever in a place that makes no folders, such as
 * /proc. @throws the system's error
 */
export async function makeFolder(path: string): Promise<void> {
  const isFolder = (at: string) =>
    stat(at).then(
      (found) => found.isDirectory(),
      () => false,
    );
  const folder = resolve(path);
  if (await isFolder(folder)) return;
  if (dirname(folder) !== folder) await makeFolder(dirname(folder));
  try {
    await mkdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !(await isFolder(folder))) throw error;
  }
}

/** Writes chunks to a new file, waits until they are on the disk, and returns size and hash. */
export async function writeDurably(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<FileDigest> {
  const hash = createHash('sha256');
  let bytes = 0;
  const handle = await open(path, 'wx');
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      await handle.writeFile(chunk);
      bytes += chunk.length;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** A rename is on the disk only when the folder that it changed is. */
export async function syncFolder(path: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (process.platform === 'win32') return; // folders cannot be opened there, and need not be
    throw error;
  }
  try {
    await handle.sync();
  } catch (error) {
    if (process.platform !== 'win32') throw error;
  } finally {
    await handle.close();
  }
}

/** Moves what was written beside `final` into its place, durably. */
export async function renameDurably(temporary: string, final: string): Promise<void> {
  await rename(temporary, final);
  await syncFolder(dirname(final));
}

/** Runs a save: what fails becomes a CheckpointError that says what is left, and the temporary file or folder goes. */
export async function saving<T>(final: string, temporary: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    if (error instanceof CheckpointError) throw error;
    if (!isSystemError(error)) throw error;
    const why = error.code === 'ENOSPC' ? 'no space is left on the disk' : error.message;
    throw new CheckpointError('CHECKPOINT_WRITE', final, `not saved: ${why}; earlier checkpoints are untouched`, {
      cause: error,
    });
  }
}

export async function readChecked(path: string): Promise<Uint8Array> {
  return reading(path, async () => {
    const handle = await openRegular(path);
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  });
}

/** Opens a file for reading; a pipe or a device, which might never end, is refused. @throws CheckpointError CHECKPOINT_READ */
export async function openRegular(path: string): Promise<FileHandle> {
  // Without O_NONBLOCK the open of a pipe would wait for a writer.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new CheckpointError('CHECKPOINT_READ', path, 'is no regular file');
}

/** Runs a read: what the file system refuses becomes a CheckpointError. */
export async function reading<T>(path: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') {
      throw new CheckpointError('CHECKPOINT_MISSING', path, 'no such file; the checkpoint is missing or incomplete', {
        cause: error,
      });
    }
    throw new CheckpointError('CHECKPOINT_READ', path, `cannot be read: ${error.message}`, { cause: error });
  }
}

export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string' && 'syscall' in error;
}

/** A file that is open for reading. */
export interface OpenFile extends ByteSource {
  /** Closes the file. */
  close(): Promise<void>;
}

/** Opens a file for reading at any place. @throws CheckpointError CHECKPOINT_MISSING or CHECKPOINT_READ */
export function openFile(path: string): Promise<OpenFile> {
  return reading(path, async () => {
    const handle = await openRegular(path);
    try {
      const { size } = await handle.stat();
      return {
        name: path,
        size,
        read: (offset, length) => reading(path, () => readExactly(handle, path, offset, length)),
        close: () => handle.close(),
      };
    } catch (error) {
      await handle.close();
      throw error;
    }
  });
}

async function readExactly(handle: FileHandle, path: string, offset: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, Math.min(length - filled, 2 ** 30), offset + filled);
    if (bytesRead === 0)
      throw new CheckpointError('CHECKPOINT_CORRUPT', path, 'ended early; it is being changed or damaged');
    filled += bytesRead;
  }
  return buffer;
}
