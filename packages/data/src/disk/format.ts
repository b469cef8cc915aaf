import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { DataError, messageOf } from '../errors.ts';
import { readRegular, readRegularStart } from './regular.ts';

/** Version of the layout (docs/token-store.md). */
export const STORE_VERSION = 1;

/** Tokens of one shard: 16 MiB as uint16. */
export const SHARD_TOKENS = 2 ** 23;

/** Names of a store's files; shards are `tokens-00000.bin` and so on. */
export const FILES = {
  index: 'index.json',
  journal: 'progress.json',
  tokenizer: 'tokenizer-used.json',
  documents: 'documents.bin',
  marks: 'marks.bin',
} as const;

/** Bytes of one entry of documents.bin (end, hash) and of marks.bin (tokens, bytes). */
export const ENTRY = 16;

const FORMAT = 'lazy-attention-tokens';

/** Name of shard `n`. */
export function shardName(n: number): string {
  return `tokens-${String(n).padStart(5, '0')}.bin`;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const file = v.object({ bytes: count, sha256: digest });

const index = v.object({
  format: v.literal(FORMAT),
  version: v.literal(STORE_VERSION),
  /** For people, and to know the same source again. */
  source: v.object({ name: v.string(), stamp: v.string() }),
  tokenizer: v.object({ name: v.string(), fingerprint: v.string(), vocabSize: count, ...file.entries }),
  type: v.picklist(['uint16', 'uint32']),
  tokens: count,
  documents: count,
  skipped: count,
  bytes: count,
  fingerprint: v.string(),
  shardTokens: v.pipe(count, v.minValue(1)),
  shards: v.array(file),
  documentsFile: file,
  marksFile: file,
  sha256: digest,
});

/** index.json: everything that there is to know of a store but its tokens. */
export type StoreIndex = v.InferOutput<typeof index>;

/** Whether a folder holds a store, complete or not. */
export function isStore(folder: string): boolean {
  return isWholeStore(folder) || isOurs(join(folder, FILES.journal));
}

/** Whether a folder holds a complete store, which nobody writes to any more. */
export function isWholeStore(folder: string): boolean {
  return isOurs(join(folder, FILES.index));
}

function isOurs(path: string): boolean {
  return (
    existsSync(path) && statSync(path).isFile() && readRegularStart(path, 200).toString('utf8').includes(`"${FORMAT}`)
  );
}

/** What a store in progress begins with: never taken for a whole one. */
export const JOURNAL_FORMAT = `${FORMAT}-in-progress`;

/** The index with its digest, as text. */
export function indexText(body: Omit<StoreIndex, 'format' | 'version' | 'sha256'>): string {
  const whole = { format: FORMAT, version: STORE_VERSION, ...body };
  return `${JSON.stringify({ ...whole, sha256: sha256(JSON.stringify(whole)) }, null, 1)}\n`;
}

/** @throws DataError (STORE_INCOMPLETE, STORE_VERSION, STORE_DAMAGED) */
export function readIndex(folder: string): StoreIndex {
  const path = join(folder, FILES.index);
  if (!existsSync(path)) {
    throw new DataError(
      'STORE_INCOMPLETE',
      `${folder}: the store is not complete; run the same 'tokenize ... --out ${folder}' again, which goes on where it was`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(readRegular(path).toString('utf8'));
  } catch (cause) {
    throw damaged(path, `is not JSON (${messageOf(cause)})`, cause);
  }
  const { version, sha256: told, ...rest } = (value ?? {}) as Record<string, unknown>;
  if (Number.isInteger(version) && (version as number) > STORE_VERSION) {
    throw new DataError(
      'STORE_VERSION',
      `${path}: the store has version ${version}; this program knows up to ${STORE_VERSION}; upgrade lazy-attention, or tokenise again`,
    );
  }
  const result = v.safeParse(index, value, { abortEarly: true });
  if (!result.success)
    throw damaged(path, `${v.getDotPath(result.issues[0]) ?? 'the content'} is not what it should be`);
  const { format, ...body } = rest;
  if (told !== sha256(JSON.stringify({ format, version, ...body })))
    throw damaged(path, 'was changed: its digest differs');
  return result.output;
}

/** What is said of every file of a store that is not as it was written. */
export function damaged(path: string, what: string, cause?: unknown): DataError {
  return new DataError('STORE_DAMAGED', `${path}: ${what}; restore the file, or remove its folder and tokenise again`, {
    cause,
  });
}

export function sha256(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}
