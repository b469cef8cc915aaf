import { GGMLQuantizationType, gguf } from '@huggingface/gguf';
import type { ByteSource } from '@lazy-attention/nn';
import { ModelError, messageOf } from '../errors.ts';
import { rowsOf, type StoredTensor, type TensorStore } from '../tensors/store.ts';
import { BLOCK_FORMATS, BLOCK_NAMES } from './blocks.ts';

/** Metadata by key; numbers of 64 bits are plain numbers. */
export type GgufMetadata = Readonly<Record<string, unknown>>;

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
  const { metadata, tensorInfos, tensorDataOffset } = await parse(source);
  const corrupt = (message: string) => new ModelError('MODEL_CORRUPT', source.name, message);
  const unsupported = (message: string) => new ModelError('MODEL_UNSUPPORTED', source.name, message);
  const dataOffset = Number(tensorDataOffset);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, shape: sizes, dtype, offset } of tensorInfos) {
    const format = BLOCK_FORMATS.get(dtype);
    if (format === undefined) {
      const type = GGMLQuantizationType[dtype] ?? `number ${dtype}`;
      throw unsupported(
        `tensor '${name}' has quantisation ${type}; read are ${BLOCK_NAMES}; quantise it to one of them`,
      );
    }
    if (tensors.has(name)) throw corrupt(`names tensor '${name}' twice`);
    const shape = sizes.map(Number).reverse(); // GGUF counts from the innermost
    const { rows, columns } = rowsOf(shape);
    if (columns % format.elements !== 0 && rows > 0 && !(shape.length === 1 && rows % format.elements === 0)) {
      throw corrupt(
        `tensor '${name}' has rows of ${columns} elements; ${format.name} has blocks of ${format.elements}`,
      );
    }
    const bytesOf = (elements: number) => (elements / format.elements) * format.bytes;
    const begin = dataOffset + Number(offset);
    if (begin + bytesOf(rows * columns) > source.size) {
      throw corrupt(`tensor '${name}' ends behind the file's ${source.size} bytes; it is truncated`);
    }
    tensors.set(name, {
      file: source.name,
      type: format.name,
      shape,
      async read(from, to) {
        const elements = (to - from) * columns;
        const out = format.name === 'F64' ? new Float64Array(elements) : new Float32Array(elements);
        const bytes = await source.read(begin + bytesOf(from * columns), bytesOf(elements));
        format.decode(bytes, elements / format.elements, out);
        return out;
      },
    });
  }
  if (dataOffset > source.size) throw corrupt('ends within its header; it is truncated');
  return { metadata: numbers(metadata), tensors };
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

/** The parser asks for ranges of an address by fetch; here they come from the source. */
async function parse(source: ByteSource) {
  const ranges: typeof fetch = async (_, init) => {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get('Range') ?? '') ?? [];
    const begin = Math.min(Number(from), source.size);
    const bytes = await source.read(begin, Math.min(Number(to) + 1, source.size) - begin);
    return new Response(bytes as Uint8Array<ArrayBuffer>);
  };
  try {
    return await gguf('https://model.invalid/', { fetch: ranges });
  } catch (cause) {
    throw new ModelError('MODEL_CORRUPT', source.name, `cannot be read as GGUF: ${messageOf(cause)}`, { cause });
  }
}

function numbers(metadata: object): GgufMetadata {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [key, typeof value === 'bigint' ? Number(value) : value]),
  );
}
