import { extname } from 'node:path';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { DataError, messageOf } from '../errors.ts';

/** How bytes are packed. */
export type Packing = 'gzip' | 'zstd' | null;

const EXTENSIONS: Readonly<Record<string, Packing>> = { '.gz': 'gzip', '.zst': 'zstd' };

/** The packing that a file's name says, and the name that is left: 'a.jsonl.gz' is gzip and 'a.jsonl'. */
export function packingOf(name: string): { packing: Packing; name: string } {
  const extension = extname(name);
  const packing = EXTENSIONS[extension.toLowerCase()] ?? null;
  return { packing, name: packing === null ? name : name.slice(0, -extension.length) };
}

/** Unpacks a stream whose packing its first bytes say. For streams without a name to go by. */
export async function* unpackAny(name: string, chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const first = await chunks.next();
  if (first.done === true) return;
  const [a, b, c, d] = first.value;
  const packing =
    a === 0x1f && b === 0x8b ? 'gzip' : a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd ? 'zstd' : null;
  yield* unpack(name, packing, joined(first.value, chunks));
}

async function* joined(first: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

/**
 * The bytes that `chunks` hold packed, a stretch at a time.
 * @throws DataError (DATA_FORMAT) for an archive that is damaged or cut short
 */
export async function* unpack(
  name: string,
  packing: Packing,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (packing === null) return void (yield* chunks);
  try {
    yield* packing === 'gzip' ? gunzip(chunks) : unzstd(chunks);
  } catch (cause) {
    // What reading the file threw stays as it is.
    if (cause instanceof DataError || !isArchiveError(cause)) throw cause;
    throw new DataError('DATA_FORMAT', `${name}: the ${packing} archive is damaged or cut short: ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function* gunzip(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = Readable.from(copies(chunks));
  const unpacked = createGunzip();
  source.on('error', (error) => unpacked.destroy(error));
  source.pipe(unpacked);
  try {
    yield* unpacked;
  } finally {
    source.destroy();
  }
}

/** The stream reads ahead, and a chunk is valid only until the next. */
async function* copies(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield chunk.slice();
}

async function* unzstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  const stream = new Decompress((bytes) => {
    if (bytes.length > 0) ready.push(bytes.slice());
  });
  for await (const chunk of chunks) {
    stream.push(chunk.slice());
    yield* ready;
    ready = [];
  }
  stream.push(new Uint8Array(0), true);
  yield* ready;
}

/** zlib's errors have such a code, fzstd's a number; its own slips over damaged bytes are TypeErrors and RangeErrors. */
function isArchiveError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  return (
    typeof code === 'number' || error instanceof TypeError || error instanceof RangeError || /^Z_/.test(String(code))
  );
}
