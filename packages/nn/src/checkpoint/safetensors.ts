import { type DType, elementCount, formatShape, type Shape, type TensorData } from '@lazy-attention/core';
import { CheckpointError } from '../errors.ts';
import {
  byteLength,
  decodeElements,
  dtypeOfName,
  encodeElements,
  SUPPORTED_NAMES,
  safetensorsName,
} from './elements.ts';

/**
 * The safetensors format (https://github.com/huggingface/safetensors#format): 8 bytes, little-endian, with the length N
 * of the header; N bytes of JSON from tensor name to { dtype, shape, data_offsets: [begin, end] }, perhaps with
 * `__metadata__`, a map of strings, and padded with spaces; then the elements, row-major and little-endian, without gaps.
 */

/** One tensor of a file. */
export interface TensorEntry {
  /** Type in the file. */
  readonly dtype: DType;
  /** Its shape; [] for a scalar. */
  readonly shape: Shape;
  /** Bytes from the beginning of the data. */
  readonly begin: number;
  /** Bytes from the beginning of the data to the end of this tensor's. */
  readonly end: number;
}

export interface Header {
  /** In the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** `__metadata__` of the file; {} where there is none. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A tensor of a file, in host memory. */
export interface HostTensor {
  /** Type in the file. */
  readonly dtype: DType;
  /** Its shape; [] for a scalar. */
  readonly shape: Shape;
  /** bf16 and f16 as Float32Array. */
  readonly data: TensorData;
}

/** What a safetensors file holds. */
export interface Safetensors {
  /** By name. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  /** Strings by name. */
  readonly metadata: Readonly<Record<string, string>>;
}

export const PREFIX_BYTES = 8;
/** What the format's own implementation accepts; more is a sign that this is another kind of file. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Length and header, padded so that the data begins at a multiple of 8. */
export function encodeHeader(
  tensors: Readonly<Record<string, { readonly dtype: DType; readonly shape: Shape }>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  let offset = 0;
  const header: [string, unknown][] = Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : [];
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    const begin = offset;
    offset += byteLength(elementCount(shape), dtype);
    header.push([name, { dtype: safetensorsName(dtype), shape, data_offsets: [begin, offset] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, PREFIX_BYTES);
  return bytes;
}

/** Length of the JSON from the file's first 8 bytes. `path` is for messages. @throws CheckpointError */
export function headerLength(path: string, prefix: Uint8Array, fileBytes: number): number {
  if (fileBytes < PREFIX_BYTES || prefix.length < PREFIX_BYTES) {
    throw corrupt(path, `${fileBytes} bytes are too few for a safetensors file; it is truncated or none`);
  }
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw corrupt(path, `the header would have ${length} bytes; this is no safetensors file`);
  if (PREFIX_BYTES + length > fileBytes) {
    throw corrupt(path, `the header has ${length} bytes, the file ${fileBytes}; it is truncated`);
  }
  return length;
}

/** Checks everything that the format promises; `dataBytes` is what the file has behind the header. @throws CheckpointError */
export function parseHeader(path: string, json: Uint8Array, dataBytes: number): Header {
  const entries = Object.entries(parseObject(path, json));
  const twice = repeatedKey(json);
  if (twice !== undefined) throw corrupt(path, `the header names '${twice}' twice`);
  const metadata = entries.find(([name]) => name === '__metadata__')?.[1] ?? {};
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) {
    throw corrupt(path, '__metadata__ is no map of strings');
  }
  const tensors = entries
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => [name, parseEntry(path, name, entry)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let offset = 0;
  for (const [name, { begin, end }] of tensors) {
    if (begin !== offset)
      throw corrupt(path, `tensor '${name}' begins at byte ${begin} of the data; expected ${offset}`);
    offset = end;
  }
  if (offset !== dataBytes) {
    throw corrupt(
      path,
      `the header describes ${offset} bytes of data, the file has ${dataBytes}; it is truncated or damaged`,
    );
  }
  return { tensors: new Map(tensors), metadata: metadata as Record<string, string> };
}

/** A whole file in memory. For large ones on disk see `saveParams` and `loadParams` of the Node entry. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, HostTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const parts = [encodeHeader(tensors, metadata)];
  for (const [name, { data, dtype, shape }] of Object.entries(tensors)) {
    if (data.length !== elementCount(shape)) {
      throw new CheckpointError(
        'CHECKPOINT_SHAPE',
        'encodeSafetensors',
        `'${name}' has ${data.length} elements; shape ${formatShape(shape)} needs ${elementCount(shape)}`,
      );
    }
    parts.push(encodeElements(data, dtype));
  }
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** `path` is for messages. @throws CheckpointError for anything that breaks the format */
export function decodeSafetensors(bytes: Uint8Array, path = 'safetensors'): Safetensors {
  const length = headerLength(path, bytes.subarray(0, PREFIX_BYTES), bytes.length);
  const data = bytes.subarray(PREFIX_BYTES + length);
  const { tensors, metadata } = parseHeader(path, bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length), data.length);
  const decoded = Array.from(tensors, ([name, { dtype, shape, begin, end }]) => [
    name,
    { dtype, shape, data: decodeElements(data.subarray(begin, end), dtype) },
  ]);
  return { tensors: Object.fromEntries(decoded), metadata };
}

function parseObject(path: string, json: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (error) {
    throw corrupt(path, 'the header is no JSON in UTF-8', error);
  }
  if (!isRecord(value)) throw corrupt(path, 'the header is no JSON object');
  return value;
}

/** A key of the outermost object that JSON.parse would have taken the last value of. `json` is known to be valid. */
function repeatedKey(json: Uint8Array): string | undefined {
  const seen = new Set<string>();
  const tokens = new TextDecoder().decode(json).matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g);
  let depth = 0;
  for (const [token, colon] of tokens) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && colon !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function parseEntry(path: string, name: string, entry: unknown): TensorEntry {
  if (!isRecord(entry)) throw corrupt(path, `tensor '${name}' has no description`);
  const dtype = typeof entry.dtype === 'string' ? dtypeOfName(entry.dtype) : undefined;
  if (dtype === undefined) {
    throw corrupt(path, `tensor '${name}' has type ${JSON.stringify(entry.dtype)}; supported are ${SUPPORTED_NAMES}`);
  }
  const { shape, data_offsets: offsets } = entry;
  if (!isSizes(shape)) throw corrupt(path, `tensor '${name}' has no valid shape`);
  if (!isSizes(offsets) || offsets.length !== 2) throw corrupt(path, `tensor '${name}' has no valid data_offsets`);
  const [begin, end] = offsets;
  const expected = byteLength(elementCount(shape), dtype);
  if (end - begin !== expected) {
    throw corrupt(
      path,
      `tensor '${name}' ${formatShape(shape)} takes ${end - begin} bytes; ${dtype} needs ${expected}`,
    );
  }
  return { dtype, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function corrupt(path: string, message: string, cause?: unknown): CheckpointError {
  return new CheckpointError('CHECKPOINT_CORRUPT', path, message, { cause });
}
