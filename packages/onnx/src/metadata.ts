import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  type AttentionConfig,
  type LazyTransformerConfig,
  lazyAttentionLayer,
  lazyTransformer,
} from '@lazy-attention/nn';
import { OnnxFileError } from './errors.ts';

/** What a file of ours says of itself, in the model's metadata. */
export type OnnxMetadata = {
  /** Most tokens of a sequence, cache included. */
  readonly maxLength: number;
  /** The graph has the input `starts`. */
  readonly starts: boolean;
} & (ModelMetadata | LayerMetadata);

/** Of a whole model. */
export interface ModelMetadata {
  /** What the graph is. */
  readonly kind: 'model';
  /** Of the model, with every default filled in. */
  readonly config: LazyTransformerConfig;
}

/** Of one attention layer. */
export interface LayerMetadata {
  /** What the graph is. */
  readonly kind: 'attention';
  /** Of the layer, with every default filled in. */
  readonly config: AttentionConfig;
}

/** 2: with digests. */
const FORMAT = '2';
const KEYS = {
  format: 'lazy_attention.format',
  kind: 'lazy_attention.kind',
  config: 'lazy_attention.config',
  maxLength: 'lazy_attention.max_length',
  starts: 'lazy_attention.starts',
  dataFile: 'lazy_attention.data_file',
  dataBytes: 'lazy_attention.data_bytes',
  dataDigest: 'lazy_attention.data_sha256',
  modelBytes: 'lazy_attention.model_bytes',
  digest: 'lazy_attention.sha256',
} as const;

export function encodeMetadata({ kind, config, maxLength, starts }: OnnxMetadata): Record<string, string> {
  return {
    [KEYS.format]: FORMAT,
    [KEYS.kind]: kind,
    [KEYS.config]: JSON.stringify(config),
    [KEYS.maxLength]: String(maxLength),
    [KEYS.starts]: String(starts),
  };
}

/** Where the weights are when they are not in the model. */
export function dataMetadata(dataFile: string, bytes: number, digest: string): Record<string, string> {
  return { [KEYS.dataFile]: basename(dataFile), [KEYS.dataBytes]: String(bytes), [KEYS.dataDigest]: digest };
}

/** `metadata` and the SHA-256 of the model before it together with it, so that neither changes without the other. */
export function withDigest(metadata: Readonly<Record<string, string>>, model: Uint8Array): Record<string, string> {
  const known = { ...metadata, [KEYS.modelBytes]: String(model.length) };
  const hash = createHash('sha256').update(model).update(canonical(known));
  return { ...known, [KEYS.digest]: hash.digest('hex') };
}

/** All but the digest, in an order that depends on nothing. */
function canonical(properties: Readonly<Record<string, string>>): string {
  return JSON.stringify(
    Object.entries(properties)
      .filter(([key]) => key !== KEYS.digest)
      .sort(),
  );
}

/** Reads the whole file, and its weights' file. @throws OnnxFileError when a byte of either is not what was written */
export async function verifyFile(file: string): Promise<void> {
  const properties = await readProperties(file);
  const hash = await digestOf(file, Number(properties.get(KEYS.modelBytes)));
  if (hash.update(canonical(Object.fromEntries(properties))).digest('hex') !== properties.get(KEYS.digest)) {
    throw new OnnxFileError(
      file,
      'is not what was written (its SHA-256 differs): it is damaged or was changed; export it again',
    );
  }
  const dataFile = properties.get(KEYS.dataFile);
  if (dataFile === undefined) return;
  const path = join(dirname(file), dataFile);
  if ((await digestOf(path, Number(properties.get(KEYS.dataBytes)))).digest('hex') === properties.get(KEYS.dataDigest))
    return;
  throw new OnnxFileError(
    path,
    'is not what was written (its SHA-256 differs): it is damaged or was changed; export it again',
  );
}

/** The hash of the first `bytes` of a file. */
async function digestOf(file: string, bytes: number): Promise<Hash> {
  const hash = createHash('sha256');
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new OnnxFileError(file, `has damaged metadata: ${bytes} bytes`);
  if (bytes === 0) return hash;
  for await (const chunk of createReadStream(file, { end: bytes - 1, highWaterMark: 2 ** 20 }))
    hash.update(chunk as Uint8Array);
  return hash;
}

/**
 * Reads a file's metadata without its weights. @throws OnnxFileError for a file that is missing, no ONNX model, not written by
 * this package, of a newer format, or without its weights
 */
export async function readMetadata(file: string): Promise<OnnxMetadata> {
  const properties = await readProperties(file);
  const format = properties.get(KEYS.format);
  if (format === undefined) {
    throw new OnnxFileError(
      file,
      `is an ONNX model, but not one that lazy-attention exported (no metadata '${KEYS.format}')`,
    );
  }
  if (format !== FORMAT) {
    const fix = Number(format) < Number(FORMAT) ? 'export it again' : 'update @lazy-attention/onnx';
    throw new OnnxFileError(file, `has format ${format}; this version knows ${FORMAT}; ${fix}`);
  }
  const dataFile = properties.get(KEYS.dataFile);
  if (dataFile !== undefined) await checkData(file, dataFile, Number(properties.get(KEYS.dataBytes)));
  const maxLength = Number(properties.get(KEYS.maxLength));
  const starts = properties.get(KEYS.starts) === 'true';
  const kind = properties.get(KEYS.kind);
  try {
    const config: unknown = JSON.parse(properties.get(KEYS.config) ?? '');
    if (!Number.isSafeInteger(maxLength) || maxLength < 1) throw new Error(`max_length is ${maxLength}`);
    checkSizes(config);
    if (kind === 'model') {
      return { kind, config: lazyTransformer(config as LazyTransformerConfig).config, maxLength, starts };
    }
    if (kind === 'attention') {
      return { kind, config: lazyAttentionLayer(config as AttentionConfig).config, maxLength, starts };
    }
    throw new Error(`kind is '${kind}'`);
  } catch (error) {
    throw new OnnxFileError(file, `has damaged metadata: ${(error as Error).message}`, { cause: error });
  }
}

/** Bounds sizes before anything is made of them. */
function checkSizes(config: unknown): void {
  if (typeof config !== 'object' || config === null) throw new Error('config is no object');
  for (const [key, most] of Object.entries(MOST)) {
    const size: unknown = (config as Record<string, unknown>)[key];
    if (size !== undefined && !(typeof size === 'number' && size <= most)) {
      throw new Error(`config.${key} is ${JSON.stringify(size)}; expected at most ${most}`);
    }
  }
}

async function checkData(file: string, dataFile: string, bytes: number): Promise<void> {
  if (dataFile !== basename(dataFile)) {
    throw new OnnxFileError(file, `names '${dataFile}' as the file of its weights; expected one beside it`);
  }
  const path = join(dirname(file), dataFile);
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new OnnxFileError(file, `has its weights in ${path}, which does not exist`);
  if (found.size !== bytes) {
    throw new OnnxFileError(file, `has its weights in ${path}, which has ${found.size} bytes; expected ${bytes}`);
  }
}

/** Far above any model. */
const MOST = { numLayers: 4096, numHeads: 4096, vocabSize: 2 ** 24, hiddenSize: 2 ** 20, intermediateSize: 2 ** 22 };

/** Fields of a file of ours: some dozen. Walking many more would take a file of nonsense for ever. */
const MOST_FIELDS = 1000;
/** Bytes of one entry of the metadata. */
const MOST_ENTRY = 2 ** 20;

const METADATA_PROPS = 14;
const LENGTH_DELIMITED = 2;
const FIXED_BYTES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

/**
 * Walks the top level of the ModelProto and skips what it does not need: the graph, with gigabytes of weights, is one
 * field, which is never read.
 */
async function readProperties(file: string): Promise<Map<string, string>> {
  // Not a pipe, which would be waited for.
  if ((await stat(file).catch(() => null))?.isFile() === false) throw new OnnxFileError(file, 'is no regular file');
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new OnnxFileError(file, error.code === 'ENOENT' ? 'does not exist' : `cannot be read: ${error.message}`);
  });
  try {
    const { size } = await handle.stat();
    const properties = new Map<string, string>();
    const bad = () => new OnnxFileError(file, 'is no ONNX model, or truncated');
    let sawGraph = false;
    let fields = 0;
    for (let at = 0; at < size; ) {
      if (++fields > MOST_FIELDS) throw bad();
      const head = await readAt(handle, at, 20);
      const [tag, tagEnd] = varint(head, 0) ?? [0, 0];
      const [field, wire] = [Math.floor(tag / 8), tag % 8];
      if (tagEnd === 0 || field === 0) throw bad();
      if (wire === 0) {
        const value = varint(head, tagEnd);
        if (value === null) throw bad();
        at += value[1];
        continue;
      }
      if (wire in FIXED_BYTES) {
        at += tagEnd + FIXED_BYTES[wire];
        continue;
      }
      const length = wire === LENGTH_DELIMITED ? varint(head, tagEnd) : null;
      if (length === null || at + length[1] + length[0] > size) throw bad();
      if (field === 7) sawGraph = true;
      if (field === METADATA_PROPS) {
        if (length[0] > MOST_ENTRY) throw bad();
        const [key, value] = entry(await readAt(handle, at + length[1], length[0]));
        properties.set(key, value);
      }
      at += length[1] + length[0];
    }
    if (!sawGraph) throw bad();
    return properties;
  } finally {
    await handle.close();
  }
}

/** StringStringEntryProto: key = 1, value = 2. */
function entry(bytes: Uint8Array): [string, string] {
  const fields = ['', '', ''];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at];
    const length = varint(bytes, at + 1);
    if (length === null) break;
    fields[(tag >> 3) & 3] = new TextDecoder().decode(bytes.subarray(length[1], length[1] + length[0]));
    at = length[1] + length[0];
  }
  return [fields[1], fields[2]];
}

/** Value and position behind it, or null when the bytes end. Exact to 2^53. */
function varint(bytes: Uint8Array, start: number): [number, number] | null {
  let value = 0;
  for (let i = 0; i < 10 && start + i < bytes.length; i++) {
    const byte = bytes[start + i];
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return [value, start + i + 1];
  }
  return null;
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
