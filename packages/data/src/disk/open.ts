import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import type { TokenStore } from '../store.ts';
import { bytesBefore } from '../store-builder.ts';
import type { Tokenizer, TokenizerJSON } from '../tokenizer.ts';
import { tokenizerFromJSON } from '../tokenizer-json.ts';
import { damaged, ENTRY, FILES, readIndex, type StoreIndex, sha256, shardName } from './format.ts';
import { readRegular } from './regular.ts';

/** A store on the disk. Its tokens stay there; about 32 bytes a document are in memory. */
export interface OpenedStore {
  /** Its tokens. Reading throws DataError (STORE_DAMAGED) for a shard that was changed. */
  readonly store: TokenStore;
  /** What made them. */
  readonly tokenizer: Tokenizer;
  /** Name of what was tokenised. */
  readonly source: string;
}

/**
 * Opens a store that `writeTokenStore` wrote. Sizes and digests of everything but the shards are checked now; a shard's
 * digest when it is first read from.
 * @throws DataError (STORE_INCOMPLETE, STORE_VERSION, STORE_DAMAGED)
 */
export function openTokenStore(folder: string): OpenedStore {
  const index = readIndex(folder);
  const tokenizerText = wholeFile(folder, FILES.tokenizer, index.tokenizer).toString('utf8');
  const documents = wholeFile(folder, FILES.documents, index.documentsFile);
  const marks = wholeFile(folder, FILES.marks, index.marksFile);
  const width = index.type === 'uint16' ? 2 : 4;
  index.shards.forEach(({ bytes }, n) => {
    requireSize(join(folder, shardName(n)), bytes);
  });
  const stored = index.shards.reduce((sum, { bytes }) => sum + bytes, 0);
  if (stored !== index.tokens * width || documents.length !== index.documents * ENTRY || marks.length % ENTRY !== 0) {
    throw damaged(join(folder, FILES.index), 'its numbers contradict one another');
  }
  const entries = documents.length / ENTRY;
  const documentEnds = new Float64Array(entries);
  const documentHashes = new Int32Array(2 * entries);
  for (let d = 0; d < entries; d++) {
    documentEnds[d] = documents.readDoubleLE(d * ENTRY);
    documentHashes[2 * d] = documents.readInt32LE(d * ENTRY + 8);
    documentHashes[2 * d + 1] = documents.readInt32LE(d * ENTRY + 12);
  }
  const { tokens: length, skipped, bytes, fingerprint, tokenizer } = index;
  return {
    source: index.source.name,
    tokenizer: tokenizerFromJSON(JSON.parse(tokenizerText) as TokenizerJSON),
    store: {
      ...{ length, documents: index.documents, skipped, bytes, vocabSize: tokenizer.vocabSize, fingerprint },
      ...{ documentEnds, documentHashes, bytesBefore: bytesBefore(readMarks(marks)) },
      read: shardReader(folder, index, width),
    },
  };
}

function readMarks(file: Buffer): { tokens: Float64Array; bytes: Float64Array } {
  const entries = file.length / ENTRY;
  const tokens = new Float64Array(entries + 1);
  const bytes = new Float64Array(entries + 1);
  for (let m = 0; m < entries; m++) {
    tokens[m + 1] = file.readDoubleLE(m * ENTRY);
    bytes[m + 1] = file.readDoubleLE(m * ENTRY + 8);
  }
  return { tokens, bytes };
}

/** Reads a window at a time, from wherever it is. */
function shardReader(folder: string, index: StoreIndex, width: 2 | 4): TokenStore['read'] {
  const checked = new Set<number>();
  let buffer = Buffer.alloc(0);
  return (start, count, out, at) => {
    let done = 0;
    while (done < count) {
      const shard = Math.floor((start + done) / index.shardTokens);
      const within = (start + done) % index.shardTokens;
      const part = Math.min(count - done, index.shardTokens - within);
      const bytes = part * width;
      if (buffer.length < bytes) buffer = Buffer.alloc(bytes);
      withFile(join(folder, shardName(shard)), (file, path) => {
        if (!checked.has(shard)) {
          checkDigest(file, path, index.shards[shard]?.sha256);
          checked.add(shard);
        }
        if (readFully(file, buffer, bytes, within * width) !== bytes) throw damaged(path, 'is cut short');
      });
      for (let i = 0; i < part; i++) {
        out[at + done + i] = width === 2 ? buffer.readUInt16LE(2 * i) : buffer.readUInt32LE(4 * i);
      }
      done += part;
    }
  };
}

const CHECK = 2 ** 20;

function checkDigest(file: number, path: string, told: string | undefined): void {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(CHECK);
  for (let at = 0; ; ) {
    const read = readFully(file, buffer, CHECK, at);
    if (read === 0) break;
    hash.update(buffer.subarray(0, read));
    at += read;
  }
  if (hash.digest('hex') !== told) throw damaged(path, 'was changed since it was written: its digest differs');
}

function readFully(file: number, buffer: Buffer, bytes: number, position: number): number {
  let done = 0;
  while (done < bytes) {
    const read = readSync(file, buffer, done, bytes - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}

function withFile(path: string, work: (file: number, path: string) => void): void {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw damaged(path, `cannot be read (${messageOf(cause)})`, cause);
  }
  try {
    work(file, path);
  } finally {
    closeSync(file);
  }
}

function wholeFile(folder: string, name: string, told: { bytes: number; sha256: string }): Buffer {
  const path = join(folder, name);
  requireSize(path, told.bytes);
  const content = readRegular(path);
  if (sha256(content) !== told.sha256) throw damaged(path, 'was changed since it was written: its digest differs');
  return content;
}

function requireSize(path: string, bytes: number): void {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) throw damaged(path, 'is missing');
  if (!status.isFile()) throw damaged(path, 'is no regular file');
  if (status.size === bytes) return;
  throw damaged(path, `has ${status.size} bytes of ${bytes}: it is ${status.size < bytes ? 'cut short' : 'too long'}`);
}
