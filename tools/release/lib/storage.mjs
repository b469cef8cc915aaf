import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

/** What a registry on localhost was given to publish, and its list of it: of one rehearsal alone. */
const OF_A_REHEARSAL = new Set(['@lazy-attention', 'lazy-attention', '.verdaccio-db.json']);

/**
 * Copies what a registry keeps of others' packages from one storage into another, which may be in use: a file comes whole, and
 * a tarball that is there stays, for it never changes.
 */
export function copyOthers(from, to) {
  if (!existsSync(from)) return;
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
    const path = relative(from, join(entry.parentPath ?? entry.path, entry.name));
    const place = join(to, path);
    if (!entry.isFile() || OF_A_REHEARSAL.has(path.split(sep)[0]) || /\.tmp[^.]*$/.test(path)) continue;
    if (path.endsWith('.tgz') && existsSync(place)) continue;
    mkdirSync(dirname(place), { recursive: true });
    const beside = `${place}.${randomBytes(6).toString('hex')}.tmp`;
    copyFileSync(join(from, path), beside);
    renameSync(beside, place);
  }
}
