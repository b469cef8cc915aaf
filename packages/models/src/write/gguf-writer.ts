/** A value of the metadata, with GGUF's type. */
export type MetadataValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s' | 'f32s'; readonly value: readonly number[] };

/** GGUF's numbers of the types of metadata. */
const TYPE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
/** Bytes that tensors begin at a multiple of. */
export const ALIGNMENT = 32;

/** Up to the next multiple of `ALIGNMENT`. */
export function padded(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** The header of a GGUF file: little-endian fields one after another. */
export class GgufWriter {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  /** As they are. */
  bytes(part: Uint8Array): void {
    this.parts.push(part);
    this.length += part.length;
  }

  /** An unsigned number of 32 bits. */
  u32(value: number): void {
    this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }

  /** A whole number in 64 bits. */
  u64(value: number): void {
    this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  /** A text with its length in bytes before it. */
  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  /** A value of the metadata, its type first. */
  value(value: MetadataValue): void {
    switch (value.type) {
      case 'u32':
      case 'i32':
      case 'f32':
        this.u32(TYPE[value.type]);
        this.number(value.type, value.value);
        break;
      case 'bool':
        this.u32(TYPE.bool);
        this.bytes(Uint8Array.of(value.value ? 1 : 0));
        break;
      case 'string':
        this.u32(TYPE.string);
        this.text(value.value);
        break;
      case 'strings':
        this.array('string', value.value.length);
        for (const item of value.value) this.text(item);
        break;
      case 'i32s':
      case 'f32s': {
        const type = value.type === 'i32s' ? 'i32' : 'f32';
        this.array(type, value.value.length);
        for (const item of value.value) this.number(type, item);
      }
    }
  }

  /** The header, up to where the tensors begin. */
  done(): Uint8Array {
    const out = new Uint8Array(padded(this.length));
    let at = 0;
    for (const part of this.parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  private array(type: 'string' | 'i32' | 'f32', length: number): void {
    this.u32(TYPE.array);
    this.u32(TYPE[type]);
    this.u64(length);
  }

  private number(type: 'u32' | 'i32' | 'f32', value: number): void {
    const array = type === 'f32' ? Float32Array.of(value) : Int32Array.of(value);
    this.bytes(new Uint8Array(array.buffer));
  }
}
