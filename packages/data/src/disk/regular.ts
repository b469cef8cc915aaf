import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs';

/**
 * The bytes of a regular file. A pipe is refused and not waited for.
 * @throws Error with the reason
 */
export function readRegular(path: string): Buffer {
  return withRegular(path, (file) => readFileSync(file));
}

/** As `readRegular`, at most the first `length` bytes. */
export function readRegularStart(path: string, length: number): Buffer {
  return withRegular(path, (file) => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(file, bytes, 0, length, 0));
  });
}

function withRegular<T>(path: string, read: (file: number) => T): T {
  // Windows has no such flag.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    if (!fstatSync(file).isFile()) throw new Error('it is no regular file');
    return read(file);
  } finally {
    closeSync(file);
  }
}
