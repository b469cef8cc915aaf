import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../..', import.meta.url)).replace(/[\\/]$/, '');

/**
 * Every block of code that stands behind a line `<!-- test: NAME -->` in a README or a guide: `ts` to be run as a module, `sh` to be
 * run as commands. The mark is invisible on the page and promises that the block works as printed, where it says `on BACKEND` on
 * machines that have it, and where it says `short` with trainings of a few steps (lib/short.mjs).
 */
export function snippets() {
  const files = ['README.md'];
  for (const name of readdirSync(join(root, 'docs/guides')).sort()) files.push(`docs/guides/${name}`);
  for (const group of ['packages', 'apps', 'tools']) {
    for (const name of readdirSync(join(root, group)).sort()) files.push(`${group}/${name}/README.md`);
  }
  return files
    .filter((file) => existsSync(join(root, file)))
    .flatMap((file) => marked(file, readFileSync(join(root, file), 'utf8')));
}

export function marked(file, text) {
  const pattern = /<!-- test: ([\w-]+)(?:, on (\w+))?(, short)? -->\r?\n+```(\w+)\r?\n([\s\S]*?)```/g;
  return [...text.matchAll(pattern)].map(([, name, on, short, language, code]) => ({
    file,
    name,
    ...(on ? { on } : {}),
    ...(short ? { short: true } : {}),
    language,
    code,
  }));
}
