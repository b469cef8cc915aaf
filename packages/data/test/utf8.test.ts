import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fileChunks } from '../src/read/file.ts';
import { decodeUtf8 } from '../src/read/utf8.ts';
import { dataError, folderWith } from './helpers.ts';

async function* chunked(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  // One buffer for all chunks, as the file reader has it: a decoder that kept a view would show it.
  const buffer = new Uint8Array(Math.max(1, ...sizes, bytes.length));
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = Math.min(sizes[i % sizes.length]!, bytes.length - at);
    buffer.set(bytes.subarray(at, at + size));
    yield buffer.subarray(0, size);
    at += size;
  }
}

async function decode(bytes: Uint8Array, sizes: readonly number[]): Promise<string> {
  let text = '';
  for await (const part of decodeUtf8('x.txt', chunked(bytes, sizes))) text += part;
  return text;
}

const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });

describe('decodeUtf8', () => {
  it('gives the same text however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), sizes, async (text, cuts) => {
        const clean = text.replaceAll('\0', '').replace(/^\ufeff+/, '');
        expect(await decode(new TextEncoder().encode(clean), cuts)).toBe(clean);
      }),
    );
  });

  it('reads files whose characters lie across its read size', async () => {
    const text = '\u4f60\u597d\u{1f40b}\u00e9x'.repeat(5);
    const path = `${folderWith({ 'a.txt': text })}/a.txt`;
    for (let chunk = 1; chunk < 16; chunk++) {
      let read = '';
      for await (const part of decodeUtf8('a.txt', fileChunks(path, {}, chunk))) read += part;
      expect(read).toBe(text);
    }
  });

  it('drops a byte order mark at the beginning, and only there', async () => {
    expect(await decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0xef, 0xbb, 0xbf), [2])).toBe('a\ufeff');
  });

  it('finds the first invalid byte at the same offset however the bytes are cut', async () => {
    const bytes = fc.uint8Array({ maxLength: 30 }).map((b) => b.map((x) => x || 1));
    await fc.assert(
      fc.asyncProperty(bytes, sizes, async (b, cuts) => {
        const outcome = (s: readonly number[]) => decode(b, s).then(String, (error: Error) => error.message);
        const [whole, parts] = [await outcome([64]), await outcome(cuts)];
        // Signatures are looked for in the first chunk alone.
        if (!whole.includes('expected text in UTF-8, found')) expect(parts).toBe(whole);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    [[0x61, 0x62, 0xe9, 0x63], 'x.txt: invalid UTF-8 at byte 2 (0xe9)'],
    [[0x61, 0xc3, 0xa9, 0x00], 'a NUL byte at byte 3'],
    [[0x61, 0xed, 0xa0, 0x80], 'invalid UTF-8 at byte 1 (0xed)'],
    [[0x61, 0xf0, 0x9f], 'x.txt: ends within a UTF-8 character (byte 1)'],
    [[0xff, 0xfe, 0x61, 0x00], 'UTF-16'],
    [[0x1f, 0x8b, 0x08, 0x00], 'gzip'],
    [[0x50, 0x4b, 0x03, 0x04], 'zip'],
    [[0x89, 0x50, 0x4e, 0x47], 'PNG'],
  ])('refuses %j: %s', async (bytes, message) => {
    const error = await dataError('DATA_NOT_TEXT', () => decode(Uint8Array.from(bytes), [64]));
    expect(error.message).toContain(message);
  });
});
