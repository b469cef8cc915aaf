import { createHash, type Hash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { dirname, join } from 'node:path';
import { DataError, messageOf } from '../errors.ts';
import { damaged, FILES, SHARD_TOKENS, shardName } from './format.ts';

/** Bytes that wait in memory for the next write. */
const BUFFER = 2 ** 20;

const LITTLE_ENDIAN = endianness() === 'LE';

/** A file that grows. */
export interface Appender {
  /** Bytes so far. */
  readonly bytes: () => number;
  /** Takes a copy. */
  append(bytes: Uint8Array): void;
  /** Gives everything to the disk, for good. */
  sync(): void;
  /** Closes it; the digest of its content. */
  finish(): string;
  /** Closes it as it is. */
  close(): void;
}

/** Makes a folder and those that it is in: Node's `recursive` tries for ever in a place that makes no folders, such as /proc. */
export function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  mkdirSync(path);
}

/** Opens a file to go on at byte `from`; what comes after is cut off. @throws DataError (STORE_WRITE, STORE_DAMAGED) */
export function appender(path: string, from: number): Appender {
  const file = writing(path, () => openSync(path, existsSync(path) ? 'r+' : 'w+'));
  const hash = createHash('sha256');
  try {
    hashStart(path, file, from, hash);
    writing(path, () => ftruncateSync(file, from));
  } catch (error) {
    closeSync(file);
    throw error;
  }
  let written = from;
  // One for the whole file: buffers made for each append would wait for the garbage collector outside of its heap.
  const waiting = Buffer.allocUnsafe(BUFFER);
  let size = 0;
  // What could not be written whole stays, and is written to the same place again.
  const flush = (): void =>
    writing(path, () => {
      for (let done = 0; done < size; ) done += writeSync(file, waiting, done, size - done, written + done);
      hash.update(waiting.subarray(0, size));
      written += size;
      size = 0;
    });
  const sync = (): void => {
    flush();
    writing(path, () => fsyncSync(file));
  };
  return {
    bytes: () => written + size,
    append(bytes) {
      for (let done = 0; done < bytes.length; ) {
        if (size === BUFFER) flush();
        const part = bytes.subarray(done, done + BUFFER - size);
        waiting.set(part, size);
        size += part.length;
        done += part.length;
      }
    },
    sync,
    finish() {
      sync();
      closeSync(file);
      return hash.digest('hex');
    },
    close: () => closeSync(file),
  };
}

function hashStart(path: string, file: number, bytes: number, hash: Hash): void {
  const buffer = Buffer.alloc(Math.min(BUFFER, bytes));
  for (let at = 0; at < bytes; ) {
    const read = readSync(file, buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (read === 0) throw damaged(path, `is cut short: ${at} bytes of ${bytes}`);
    hash.update(buffer.subarray(0, read));
    at += read;
  }
}

/** Writes beside, syncs and renames: at any moment there is the old file or the new one, whole. @throws DataError (STORE_WRITE) */
export function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  writing(path, () => {
    try {
      const file = openSync(temporary, 'wx');
      try {
        const bytes = Buffer.from(text);
        for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  });
}

/** Runs a write and gives its failure a type. */
export function writing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
    const fix = full
      ? 'make room, then run the same command again: it goes on where it was'
      : 'check the folder and its permissions';
    throw new DataError('STORE_WRITE', `${path}: cannot be written: ${messageOf(cause)}; ${fix}`, { cause });
  }
}

/** Digest and size of a shard that is complete. */
export interface ShardFacts {
  readonly bytes: number;
  readonly sha256: string;
}

/** The shards of a store as they grow. */
export interface ShardWriter {
  add(ids: ArrayLike<number>): void;
  /** Of those that are complete. */
  readonly done: readonly ShardFacts[];
  sync(): void;
  /** Ends the last one. */
  finish(): void;
  close(): void;
}

/** Goes on behind `tokens` tokens, of which the complete shards are `done`. */
export function shardWriter(
  folder: string,
  type: 'uint16' | 'uint32',
  tokens: number,
  done: readonly ShardFacts[],
  shardTokens = SHARD_TOKENS,
): ShardWriter {
  const width = type === 'uint16' ? 2 : 4;
  const facts = [...done];
  let within = tokens - facts.length * shardTokens;
  for (const [n, { bytes }] of facts.entries()) {
    const path = join(folder, shardName(n));
    const found = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (found !== bytes) throw damaged(path, `has ${found} bytes of ${bytes}`);
  }
  const open = () => appender(join(folder, shardName(facts.length)), within * width);
  let shard: Appender | null = within > 0 ? open() : null;
  const end = (): void => {
    if (shard === null) return;
    const bytes = shard.bytes();
    facts.push({ bytes, sha256: shard.finish() });
    shard = null;
    within = 0;
  };
  return {
    done: facts,
    add(ids) {
      for (let from = 0; from < ids.length; ) {
        shard ??= open();
        const count = Math.min(shardTokens - within, ids.length - from);
        shard.append(encoded(ids, from, count, width));
        from += count;
        within += count;
        if (within === shardTokens) end();
      }
    },
    sync: () => shard?.sync(),
    finish: end,
    close: () => shard?.close(),
  };
}

function encoded(ids: ArrayLike<number>, from: number, count: number, width: 2 | 4): Uint8Array {
  const stored = width === 2 ? Uint16Array : Uint32Array;
  if (LITTLE_ENDIAN && ids instanceof stored)
    return new Uint8Array(ids.buffer, ids.byteOffset + from * width, count * width);
  const bytes = Buffer.alloc(count * width);
  for (let i = 0; i < count; i++) {
    if (width === 2) bytes.writeUInt16LE(ids[from + i]!, 2 * i);
    else bytes.writeUInt32LE(ids[from + i]!, 4 * i);
  }
  return bytes;
}

/** Removes what is left of a store in progress once it is whole. */
export function removeJournal(folder: string): void {
  rmSync(join(folder, FILES.journal), { force: true });
}
