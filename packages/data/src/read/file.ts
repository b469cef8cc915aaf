import { promises as fs, type Stats } from 'node:fs';
import { DataError, messageOf } from '../errors.ts';

/** Bytes per read. */
const CHUNK = 256 * 1024;

/** @throws DataError (DATA_MISSING, DATA_UNREADABLE) */
export async function statOf(path: string): Promise<Stats> {
  return withPathErrors(path, () => fs.stat(path));
}

/** @throws DataError (DATA_MISSING, DATA_UNREADABLE) */
export async function readWholeFile(path: string): Promise<string> {
  return withPathErrors(path, () => fs.readFile(path, 'utf8'));
}

/** The first `count` bytes, or as many as there are. */
export async function firstBytes(path: string, count: number): Promise<Uint8Array> {
  return withPathErrors(path, async () => {
    const handle = await fs.open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(count), 0, count, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  });
}

/** The bytes of a file in order. Each chunk is valid until the next one is asked for. */
export async function* fileChunks(path: string, chunk = CHUNK): AsyncGenerator<Uint8Array> {
  const handle = await withPathErrors(path, () => fs.open(path, 'r'));
  try {
    const buffer = new Uint8Array(chunk);
    for (;;) {
      const { bytesRead } = await withPathErrors(path, () => handle.read(buffer, 0, chunk, null));
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
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
