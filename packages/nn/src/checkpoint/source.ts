import { type Header, headerLength, PREFIX_BYTES, parseHeader } from './safetensors.ts';

/** Bytes that can be read from anywhere: a file of Node's (`openFile` of the Node entry), a Blob of a browser. */
export interface ByteSource {
  /** For messages: the path or name. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`. @throws CheckpointError when the source ends earlier */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** What a safetensors file holds, before any element is read. */
export interface SafetensorsHeader extends Header {
  /** Where the elements begin, in bytes of the file; `begin` and `end` of a tensor count from there. */
  readonly dataOffset: number;
}

/** Reads and checks the header alone. @throws CheckpointError CHECKPOINT_CORRUPT for anything that breaks the format */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const prefix = await source.read(0, Math.min(PREFIX_BYTES, source.size));
  const length = headerLength(source.name, prefix, source.size);
  const dataOffset = PREFIX_BYTES + length;
  const json = await source.read(PREFIX_BYTES, length);
  return { ...parseHeader(source.name, json, source.size - dataOffset), dataOffset };
}
