/**
 * Spoilt files whose digests are right again. A digest refuses nearly everything that is changed by chance, so without this
 * nothing behind it would be tried; whoever changes a file on purpose can compute one, too.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { mutateBytes } from '../mutate/bytes.ts';
import { mutateJson } from '../mutate/json.ts';
import { oneOf, type Random } from '../random.ts';

const sha256 = (...parts: readonly (Uint8Array | string)[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Makes the manifest of a checkpoint say what its file `path` is now; of a manifest that was spoilt itself, its own digest. */
export function sealCheckpoint(path: string): void {
  const manifestPath = join(dirname(path), 'checkpoint.json');
  let manifest: { files?: Record<string, unknown>; sha256?: unknown };
  try {
    manifest = JSON.parse(readFileSync(manifestPath, 'utf8'));
  } catch {
    return; // the manifest is what was spoilt, and is no JSON any more
  }
  if (typeof manifest !== 'object' || manifest === null) return;
  const { sha256: _, ...body } = manifest;
  if (path !== manifestPath && body.files !== undefined) {
    const bytes = readFileSync(path);
    body.files[basename(path)] = { bytes: bytes.length, sha256: sha256(bytes) };
  }
  writeFileSync(manifestPath, JSON.stringify({ ...body, sha256: sha256(JSON.stringify(body)) }));
}

const PREFIX = 'lazy_attention.';
const METADATA = 14;
const LENGTH_DELIMITED = 2;

/** A copy of an exported ONNX file with mistakes in its graph or its metadata, and the digest over both as it must be. */
export function spoilOnnx(file: Uint8Array, random: Random): Uint8Array {
  let { model, properties } = takeApart(file);
  if (random() < 0.5) model = mutateBytes(model, random);
  else {
    const key = oneOf(random, [...properties.keys()]);
    const value = properties.get(key) ?? '';
    properties.set(
      key,
      mutateJson(value, random) ?? oneOf(random, ['', '-1', '1e9', '0', 'NaN', '../x', value.slice(1)]),
    );
  }
  if (random() < 0.9) properties.set(`${PREFIX}model_bytes`, String(model.length));
  properties.delete(`${PREFIX}sha256`);
  const known = JSON.stringify([...properties].sort());
  const covered = Number(properties.get(`${PREFIX}model_bytes`));
  properties.set(`${PREFIX}sha256`, sha256(model.subarray(0, Number.isFinite(covered) ? covered : 0), known));
  const entries = [...properties].map(([key, value]) =>
    field(METADATA, concat(field(1, utf8(key)), field(2, utf8(value)))),
  );
  return concat(model, ...entries);
}

/** The graph, and the metadata behind it. */
function takeApart(file: Uint8Array): { model: Uint8Array; properties: Map<string, string> } {
  const properties = new Map<string, string>();
  let [at, end] = [0, file.length];
  while (at < file.length) {
    const begin = at;
    const [tag, body] = varint(file, at);
    if (tag % 8 !== LENGTH_DELIMITED) {
      at = varint(file, body)[1]; // the model has no other kinds of fields than these two
      continue;
    }
    const [length, content] = varint(file, body);
    at = content + length;
    if (tag >> 3 !== METADATA) continue;
    end = Math.min(end, begin);
    const [keyLength, key] = varint(file, content + 1);
    const [valueLength, value] = varint(file, key + keyLength + 1);
    const text = (from: number, count: number) => new TextDecoder().decode(file.subarray(from, from + count));
    properties.set(text(key, keyLength), text(value, valueLength));
  }
  return { model: file.slice(0, end), properties };
}

/** Value, and the place behind it. */
function varint(bytes: Uint8Array, start: number): [number, number] {
  let [value, at] = [0, start];
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[at++] ?? 0;
    value += (byte & 0x7f) * shift;
    if (byte < 0x80) return [value, at];
  }
}

/** A field of protobuf that has a length. */
function field(number: number, content: Uint8Array): Uint8Array {
  const head: number[] = [];
  for (const value of [number * 8 + LENGTH_DELIMITED, content.length]) {
    let left = value;
    for (; left >= 128; left = Math.floor(left / 128)) head.push((left % 128) | 0x80);
    head.push(left);
  }
  return concat(Uint8Array.from(head), content);
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
