import { createHash } from 'node:crypto';
import { CheckpointError } from '../errors.ts';
import type { FileDigest } from './files.ts';

/** What JSON can hold. Numbers are finite. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** checkpoint.json: what the other files must be. Its own hash is over its JSON without that hash. */
export interface Manifest {
  readonly step: number;
  /** Steps that the optimiser has taken; null when its state was not saved. */
  readonly optimizer: { readonly steps: number } | null;
  readonly files: Readonly<Record<string, FileDigest>>;
  readonly state: Json;
}

const FORMAT = 'lazy-attention-checkpoint';
/** Raised whenever a reader of the version before would misread the new one. */
export const VERSION = 1;

export function encodeManifest(manifest: Manifest): Uint8Array {
  const body = { format: FORMAT, version: VERSION, ...manifest };
  return new TextEncoder().encode(`${JSON.stringify({ ...body, sha256: digestOf(body) }, null, 2)}\n`);
}

/** @throws CheckpointError CHECKPOINT_CORRUPT or CHECKPOINT_VERSION */
export function decodeManifest(path: string, bytes: Uint8Array): Manifest {
  const corrupt = (message: string, cause?: unknown) =>
    new CheckpointError('CHECKPOINT_CORRUPT', path, message, { cause });
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw corrupt('is no JSON in UTF-8; it is truncated or damaged', error);
  }
  if (typeof parsed !== 'object' || parsed === null || (parsed as { format?: unknown }).format !== FORMAT) {
    throw corrupt(`is no checkpoint of this program; expected "format": "${FORMAT}"`);
  }
  const { sha256, ...body } = parsed as Manifest & { format: string; version: unknown; sha256: unknown };
  if (!Number.isSafeInteger(body.version))
    throw corrupt(`has version ${JSON.stringify(body.version)}; expected an integer`);
  if ((body.version as number) > VERSION) {
    throw new CheckpointError(
      'CHECKPOINT_VERSION',
      path,
      `has format version ${body.version}; this program reads up to ${VERSION}; update @lazy-attention/nn`,
    );
  }
  if (sha256 !== digestOf(body)) throw corrupt('does not match its own SHA-256; it is damaged or was edited');
  const { step, optimizer, files, state } = body;
  const wrong = wrongField(body);
  if (wrong !== null) throw corrupt(`has ${wrong.name} ${JSON.stringify(wrong.value)}; expected ${wrong.expected}`);
  return { step, optimizer, files, state };
}

/** The first field that no program of ours has written so: a digest is right of what was made wrong, too. */
function wrongField(body: {
  readonly [name: string]: unknown;
}): { name: string; value: unknown; expected: string } | null {
  const { step, optimizer, files, state } = body;
  const count = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const object = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!count(step)) return { name: 'step', value: step, expected: 'an integer from 0' };
  if (optimizer !== null && !(object(optimizer) && count((optimizer as { steps?: unknown }).steps)))
    return { name: 'optimizer', value: optimizer, expected: 'null, or its steps' };
  const digest = (value: unknown) =>
    object(value) && count((value as FileDigest).bytes) && typeof (value as FileDigest).sha256 === 'string';
  if (!object(files) || !Object.values(files as object).every(digest))
    return { name: 'files', value: files, expected: 'bytes and sha256 by name' };
  return state === undefined ? { name: 'state', value: state, expected: 'some JSON' } : null;
}

/** @throws CheckpointError CHECKPOINT_WRITE for what JSON would lose silently */
export function checkJson(path: string, value: unknown, where = 'state'): asserts value is Json {
  const refuse = () =>
    new CheckpointError('CHECKPOINT_WRITE', path, `not saved: ${where} is ${String(value)}, which JSON cannot hold`);
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return;
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw refuse();
    return;
  }
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) checkJson(path, item, `${where}[${i}]`);
    return;
  }
  const prototype: unknown = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined;
  if (prototype !== Object.prototype && prototype !== null) throw refuse();
  for (const [key, item] of Object.entries(value as object)) checkJson(path, item, `${where}.${key}`);
}

function digestOf(body: object): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}
