import { promises as fs } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { DataError } from '../errors.ts';
import { statOf, withPathErrors } from './file.ts';
import { packingOf } from './unpack.ts';

/**
 * Every file below `folder` that has one of the extensions, sorted by the code units of its relative path with '/': the same
 * order on every system and in every locale. Names that begin with a dot and links to folders are left out.
 * @throws DataError (DATA_EMPTY) when there is none, with the extensions that are there
 */
export async function listFiles(folder: string, extensions: readonly string[]): Promise<string[]> {
  const wanted = new Set(extensions.map((extension) => extension.toLowerCase()));
  const found: { path: string; key: string }[] = [];
  const others = new Map<string, number>();
  const visit = async (directory: string): Promise<void> => {
    for (const entry of await withPathErrors(directory, () => fs.readdir(directory, { withFileTypes: true }))) {
      if (entry.name.startsWith('.')) continue;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        await visit(path);
        continue;
      }
      const extension = extname(packingOf(entry.name).name).toLowerCase();
      if (!wanted.has(extension)) others.set(extension || '(none)', (others.get(extension || '(none)') ?? 0) + 1);
      // Only now is a link followed: what it leads to does not matter unless it is wanted.
      else if (entry.isFile() || (entry.isSymbolicLink() && (await statOf(path)).isFile())) {
        found.push({ path, key: relative(folder, path).split(sep).join('/') });
      }
    }
  };
  await visit(folder);
  if (found.length === 0) {
    const counts = [...others]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([extension, count]) => `${extension} (${count})`);
    const there = counts.length === 0 ? 'it holds no files' : `extensions there: ${counts.join(', ')}`;
    throw new DataError(
      'DATA_EMPTY',
      `${folder}: no files with the extensions ${extensions.join(' ')}; ${there}. Name a file of it, or in a program others with the option 'extensions'`,
    );
  }
  return found.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ path }) => path);
}
