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
  return { step, optimizer, files, state };
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
