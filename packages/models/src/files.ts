import type { ByteSource } from '@lazy-attention/nn';
import { ModelError } from './errors.ts';

/** The files of a model, wherever they are. */
export interface ModelFiles {
  /** For messages: the folder, or the one file. */
  readonly name: string;
  /** Names of the files. */
  readonly names: readonly string[];
  /** Opens one of them; whoever opened `ModelFiles` closes it. @throws ModelError MODEL_MISSING or MODEL_READ */
  open(name: string): Promise<ByteSource>;
}

/** A Blob or File of a browser (or of Node) as bytes. */
export function blobSource(blob: Blob, name: string): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.length < length)
        throw new ModelError('MODEL_CORRUPT', name, `ends after ${blob.size} bytes; truncated`);
      return bytes;
    },
  };
}

/** Files that the user chose in a browser, by name. */
export function blobFiles(blobs: Readonly<Record<string, Blob>>, name = 'model'): ModelFiles {
  return {
    name,
    names: Object.keys(blobs),
    async open(file) {
      if (!Object.hasOwn(blobs, file)) throw new ModelError('MODEL_MISSING', `${name}/${file}`, 'no such file');
      return blobSource(blobs[file], `${name}/${file}`);
    },
  };
}

/** Largest JSON file that is read into memory, in bytes: tokenizers of 250,000 entries take 20 MB. */
const MAX_JSON_BYTES = 200_000_000;

/** A JSON object of `files`. @throws ModelError MODEL_MISSING, MODEL_READ or MODEL_CORRUPT */
export async function readJson(files: ModelFiles, name: string): Promise<Record<string, unknown>> {
  const { path, bytes } = await readSettings(files, name);
  return parseJson(path, bytes);
}

/** The bytes of a file of settings. @throws ModelError MODEL_MISSING, MODEL_READ or MODEL_CORRUPT */
export async function readSettings(files: ModelFiles, name: string): Promise<{ path: string; bytes: Uint8Array }> {
  const source = await files.open(name);
  if (source.size > MAX_JSON_BYTES) {
    throw new ModelError('MODEL_CORRUPT', source.name, `has ${source.size} bytes; too many for a file of settings`);
  }
  return { path: source.name, bytes: await source.read(0, source.size) };
}

/** The JSON object in a file that has been read. @throws ModelError MODEL_CORRUPT */
export function parseJson(path: string, bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ModelError('MODEL_CORRUPT', path, 'is no JSON in UTF-8; it is truncated or damaged', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ModelError('MODEL_CORRUPT', path, 'is no JSON object');
  }
  return value as Record<string, unknown>;
}

/** As `readJson`, null where the file is not there. */
export async function readJsonIfThere(files: ModelFiles, name: string): Promise<Record<string, unknown> | null> {
  return files.names.includes(name) ? readJson(files, name) : null;
}
