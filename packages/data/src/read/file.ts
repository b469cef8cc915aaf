import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { ReadOptions } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';

/** Bytes per read. */
const CHUNK = 256 * 1024;

/** Bytes of the largest file that is parsed whole; the largest tokenizer.json in use has 40 MB. */
const LARGEST_JSON = 2 ** 28;

/** @throws DataError (DATA_MISSING, DATA_UNREADABLE) */
export async function statOf(path: string): Promise<Stats> {
  return withPathErrors(path, () => stat(path));
}

/**
 * Opens a file for reading. A pipe, a socket or a device is refused and not waited for.
 * @throws DataError (DATA_MISSING, DATA_UNREADABLE)
 */
async function openFile(path: string): Promise<FileHandle> {
  // Without O_NONBLOCK, opening a pipe waits for its writer; Windows has no such flag.
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
  const handle = await withPathErrors(path, () => open(path, flags));
  try {
    requireFile(path, await withPathErrors(path, () => handle.stat()));
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** @throws DataError (DATA_UNREADABLE) for what is neither a file nor a folder, and for a folder */
export function requireFile(path: string, stats: Stats): void {
  if (stats.isFile()) return;
  const found = stats.isDirectory()
    ? 'a folder'
    : 'no file (a pipe, a socket or a device); write its content to a file';
  throw new DataError('DATA_UNREADABLE', `${path}: is ${found}; expected a file`);
}

/** A file of JSON, read whole; a byte order mark at its beginning is dropped. */
export async function readJsonFile(path: string): Promise<string> {
  const handle = await openFile(path);
  try {
    const { size } = await withPathErrors(path, () => handle.stat());
    if (size > LARGEST_JSON) {
      throw new DataError('DATA_UNREADABLE', `${path}: has ${size} bytes; expected at most ${LARGEST_JSON}`);
    }
    const text = await withPathErrors(path, () => handle.readFile('utf8'));
    return text.startsWith('\ufeff') ? text.slice(1) : text;
  } finally {
    await handle.close();
  }
}

/** The first `count` bytes, or as many as there are. */
export async function firstBytes(path: string, count: number): Promise<Uint8Array> {
  const handle = await openFile(path);
  try {
    const { buffer, bytesRead } = await withPathErrors(path, () => handle.read(new Uint8Array(count), 0, count, 0));
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** The bytes of a file in order. Each chunk is valid until the next one is asked for. */
export async function* fileChunks(
  path: string,
  { signal, onRead }: ReadOptions = {},
  chunk = CHUNK,
): AsyncGenerator<Uint8Array> {
  const handle = await openFile(path);
  try {
    const buffer = new Uint8Array(chunk);
    let read = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await withPathErrors(path, () => handle.read(buffer, 0, chunk, null));
      if (bytesRead === 0) return;
      read += bytesRead;
      yield buffer.subarray(0, bytesRead);
      onRead?.(read);
    }
  } finally {
    await handle.close();
  }
}

/** Runs file-system work on `path` and gives its failure a type. */
export async function withPathErrors<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new DataError('DATA_MISSING', `${path}: no such file or folder`, { cause });
    }
    const fix = code === 'EACCES' || code === 'EPERM' ? '; check its permissions' : '';
    throw new DataError('DATA_UNREADABLE', `${path}: cannot be read: ${messageOf(cause)}${fix}`, { cause });
  }
}
