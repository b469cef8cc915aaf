import { DataError } from '../errors.ts';

/** Beginnings of files that are often given as text by mistake. */
const SIGNATURES: readonly { readonly bytes: readonly number[]; readonly what: string }[] = [
  { bytes: [0xff, 0xfe], what: 'UTF-16 text; convert it, for instance with: iconv -f UTF-16 -t UTF-8' },
  { bytes: [0xfe, 0xff], what: 'UTF-16 text; convert it, for instance with: iconv -f UTF-16 -t UTF-8' },
  { bytes: [0x1f, 0x8b], what: 'a gzip archive; unpack it first' },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], what: 'a zstd archive; unpack it first' },
  { bytes: [0x42, 0x5a, 0x68, 0x39], what: 'a bzip2 archive; unpack it first' },
  { bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a], what: 'an xz archive; unpack it first' },
  { bytes: [0x50, 0x4b, 0x03, 0x04], what: 'a zip archive (or office document); extract its text first' },
  { bytes: [0x25, 0x50, 0x44, 0x46, 0x2d], what: 'a PDF; extract its text first' },
  { bytes: [0x89, 0x50, 0x4e, 0x47], what: 'a PNG image' },
  { bytes: [0x7f, 0x45, 0x4c, 0x46], what: 'a program' },
];

/**
 * Decodes a stream of bytes as UTF-8. A character that lies across the edge of two chunks is held back until it is whole;
 * a byte order mark at the beginning is dropped. Nothing is replaced: what is not text is refused.
 * @throws DataError (DATA_NOT_TEXT) with the byte offset
 */
export async function* decodeUtf8(name: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let held = new Uint8Array(0);
  let offset = 0;
  for await (const chunk of chunks) {
    const bytes = held.length === 0 ? chunk : joined(held, chunk);
    const whole = wholeCharacters(bytes);
    // A copy: the chunk's memory is used again by the next read.
    held = bytes.slice(whole);
    const text = decodeWhole(name, bytes.subarray(0, whole), offset);
    offset += whole;
    if (text !== '') yield text;
  }
  if (held.length > 0) {
    throw new DataError(
      'DATA_NOT_TEXT',
      `${name}: ends within a UTF-8 character (byte ${offset}); the file may be cut short`,
    );
  }
}

function decodeWhole(name: string, bytes: Uint8Array, offset: number): string {
  if (offset === 0) {
    const known = SIGNATURES.find((signature) => signature.bytes.every((byte, i) => bytes[i] === byte));
    if (known !== undefined)
      throw new DataError('DATA_NOT_TEXT', `${name}: expected text in UTF-8, found ${known.what}`);
  }
  const zero = bytes.indexOf(0);
  if (zero >= 0) {
    throw new DataError(
      'DATA_NOT_TEXT',
      `${name}: expected text, found binary data (a NUL byte at byte ${offset + zero})`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: offset > 0 }).decode(bytes);
  } catch (cause) {
    const bad = firstBad(bytes);
    const value = bytes[bad]!.toString(16).padStart(2, '0');
    throw new DataError(
      'DATA_NOT_TEXT',
      `${name}: invalid UTF-8 at byte ${offset + bad} (0x${value}). If this is text in another encoding, convert it, ` +
        'for instance with: iconv -f WINDOWS-1252 -t UTF-8',
      { cause },
    );
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Length of `bytes` without a character that has begun and not ended. Invalid bytes count as whole. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return needed > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
}

/** Where the first bad character begins, by bisection: every prefix that reaches into it is bad. */
function firstBad(bytes: Uint8Array): number {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      bad = middle;
    }
  }
  return wholeCharacters(bytes.subarray(0, good));
}
