import type { ByteSource } from '@lazy-attention/nn';
import { ModelError, messageOf } from '../errors.ts';
import { rowsOf, type StoredTensor, type TensorStore } from '../tensors/store.ts';
import { BLOCK_FORMATS, BLOCK_NAMES, refusedName } from './blocks.ts';
import { type GgufHeader, parseHeader } from './header.ts';

/** Metadata by key; numbers of 64 bits are plain numbers. */
export type GgufMetadata = Readonly<Record<string, unknown>>;

/** Bytes that are read first; four times as many where the header is longer. */
const FIRST_BYTES = 1 << 20;
/** A tokenizer of a quarter of a million tokens takes 10 MB. */
const LONGEST_HEADER = 1 << 28;

/** What a GGUF file holds, before any element is read. */
export interface GgufFile {
  readonly metadata: GgufMetadata;
  readonly tensors: TensorStore;
}

/**
 * Reads the header of a GGUF file, version 2 or 3.
 * @throws ModelError MODEL_CORRUPT, or MODEL_UNSUPPORTED for a version or quantisation that is not known
 */
export async function readGguf(source: ByteSource): Promise<GgufFile> {
  await checkVersion(source);
  const { metadata, tensors: listed, dataOffset } = await readHeader(source);
  const corrupt = (message: string) => new ModelError('MODEL_CORRUPT', source.name, message);
  const unsupported = (message: string) => new ModelError('MODEL_UNSUPPORTED', source.name, message);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, sizes, type, offset } of listed) {
    const format = BLOCK_FORMATS.get(type);
    if (format === undefined) {
      throw unsupported(
        `tensor '${name}' has quantisation ${refusedName(type)}; read are ${BLOCK_NAMES}; quantise it to one of them`,
      );
    }
    if (tensors.has(name)) throw corrupt(`names tensor '${name}' twice`);
    const shape = [...sizes].reverse(); // GGUF counts from the innermost
    const { rows, columns } = rowsOf(shape);
    if (columns % format.elements !== 0 && rows > 0 && !(shape.length === 1 && rows % format.elements === 0)) {
      throw corrupt(
        `tensor '${name}' has rows of ${columns} elements; ${format.name} has blocks of ${format.elements}`,
      );
    }
    const bytesOf = (elements: number) => (elements / format.elements) * format.bytes;
    const begin = dataOffset + offset;
    if (begin + bytesOf(rows * columns) > source.size) {
      throw corrupt(`tensor '${name}' ends behind the file's ${source.size} bytes; it is truncated`);
    }
    const bytesAt = (from: number, to: number) =>
      source.read(begin + bytesOf(from * columns), bytesOf((to - from) * columns));
    const { keep } = format;
    tensors.set(name, {
      file: source.name,
      type: format.name,
      shape,
      async read(from, to) {
        const elements = (to - from) * columns;
        const out = format.name === 'F64' ? new Float64Array(elements) : new Float32Array(elements);
        format.decode(await bytesAt(from, to), elements / format.elements, out);
        return out;
      },
      ...(keep === undefined || shape.length !== 2
        ? {}
        : {
            blocks: async (from, to) => keep(await bytesAt(from, to), ((to - from) * columns) / format.elements),
          }),
    });
  }
  if (dataOffset > source.size) throw corrupt('ends within its header; it is truncated');
  return { metadata, tensors };
}

/** The first four bytes are GGUF, then the version; a big-endian file has its bytes the other way round. */
async function checkVersion(source: ByteSource): Promise<void> {
  const bytes = await source.read(0, Math.min(8, source.size));
  if (bytes.length < 8 || new TextDecoder().decode(bytes.subarray(0, 4)) !== 'GGUF') {
    throw new ModelError('MODEL_CORRUPT', source.name, 'does not begin as a GGUF file does');
  }
  const version = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  if (version === 2 || version === 3) return;
  const what = version > 0xffff ? 'a big-endian file' : `version ${version}`;
  throw new ModelError(
    'MODEL_UNSUPPORTED',
    source.name,
    `is ${what} of GGUF; read are little-endian files of versions 2 and 3; convert it again with llama.cpp`,
  );
}

/** @throws ModelError MODEL_CORRUPT */
async function readHeader(source: ByteSource): Promise<GgufHeader> {
  const corrupt = (message: string, cause?: unknown) =>
    new ModelError('MODEL_CORRUPT', source.name, `cannot be read as GGUF: ${message}`, { cause });
  for (let length = FIRST_BYTES; ; length *= 4) {
    const bytes = await source.read(0, Math.min(length, source.size));
    let header: GgufHeader | null;
    try {
      header = parseHeader(bytes);
    } catch (cause) {
      throw corrupt(messageOf(cause), cause);
    }
    if (header !== null) return header;
    if (length >= source.size) throw corrupt('it ends within its header; it is truncated');
    if (length >= LONGEST_HEADER) throw corrupt(`its header has more than ${LONGEST_HEADER} bytes`);
  }
}
