import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { RunError } from '../errors.ts';
import { readText, writeWhole } from './files.ts';
import type { RunRecord } from './record.ts';

/** A tokenizer can be 49 MB: it stands in a file of its own beside run.json, which says its SHA-256; the name begins with that. */
const NAME = /^tokenizer-[0-9a-f]{16}\.json$/;

/** Whether a file is such a tokenizer. */
export function isTokenizerFile(name: string): boolean {
  return NAME.test(name);
}

function pathOf(recordPath: string, sha256: string): string {
  return join(dirname(recordPath), `tokenizer-${sha256.slice(0, 16)}.json`);
}

/** The record as the file at `recordPath` has it; its tokenizer's file is written before it. Bytes need none. */
export function storedRecord(recordPath: string, record: RunRecord): object {
  const { tokenizer } = record.data;
  if (tokenizer.kind === 'bytes') return record;
  const text = JSON.stringify(tokenizer);
  const sha256 = digest(text);
  const path = pathOf(recordPath, sha256);
  if (!existsSync(path)) writeWhole(path, text);
  return { ...record, data: { ...record.data, tokenizer: { kind: 'file', name: tokenizer.name, sha256 } } };
}

/**
 * The JSON of a record at `recordPath` with its tokenizer, which older ones hold themselves. All else is checked by whoever asked.
 * @throws RunError RUN_RECORD where the tokenizer's file is gone or another
 */
export function loadedRecord(recordPath: string, value: unknown): unknown {
  const { data } = (value ?? {}) as { data?: { tokenizer?: { kind?: unknown; sha256?: unknown } } };
  if (data?.tokenizer?.kind !== 'file') return value;
  const { sha256 } = data.tokenizer;
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) {
    throw new RunError('RUN_RECORD', `run: ${recordPath} is damaged: data.tokenizer.sha256 is no SHA-256`);
  }
  const path = pathOf(recordPath, sha256);
  const text = readText(path, 'RUN_RECORD');
  if (digest(text) !== sha256) {
    throw new RunError(
      'RUN_RECORD',
      `run: ${path} is damaged: its SHA-256 is not the one in ${recordPath}; restore it`,
    );
  }
  return { ...(value as object), data: { ...data, tokenizer: JSON.parse(text) } };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
