import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/**
 * The bytes of a regular file. A pipe is refused and not waited for.
 * @throws Error with the reason
 */
export function readRegular(path: string): Buffer {
  // Windows has no such flag.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    if (!fstatSync(file).isFile()) throw new Error('it is no regular file');
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}
