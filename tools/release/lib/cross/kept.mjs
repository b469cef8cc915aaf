import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const FILE = join(import.meta.dirname, '../../build/binaries.json');

/** What is known of a binary beside its bytes: `commit`, of the sources that it was built from, and `ok` and `said`, how it ran. */
export function known(bytes, file = FILE) {
  return all(file)[digestOf(bytes)] ?? {};
}

/** Adds to what is known of a binary, as long as it is the same bytes. */
export function keep(bytes, more, file = FILE) {
  const digest = digestOf(bytes);
  const kept = all(file);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ ...kept, [digest]: { ...kept[digest], ...more } }, null, 2)}\n`);
}

function all(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
}

function digestOf(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
