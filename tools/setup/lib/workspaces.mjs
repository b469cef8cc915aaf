import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../..', import.meta.url)).replace(/[\\/]$/, '');

/** Every workspace as { folder, manifest }, sorted by folder: 'packages/core', ... */
export function workspaces() {
  return ['packages', 'apps', 'tools'].flatMap((group) =>
    readdirSync(join(root, group), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && existsSync(join(root, group, entry.name, 'package.json')))
      .map((entry) => ({
        folder: `${group}/${entry.name}`,
        manifest: JSON.parse(readFileSync(join(root, group, entry.name, 'package.json'), 'utf8')),
      }))
      .sort((a, b) => a.folder.localeCompare(b.folder)),
  );
}
