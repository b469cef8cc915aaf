// A plugin of Vite: licenses.txt beside the page has the licence of every package whose code is in it, its worker's too.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The folder of the package that a module comes from; null for the project's own. */
const folderOf = (id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id.replaceAll('\\', '/'))?.[0] ?? null;

function licenceOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file === undefined ? '' : `\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
  return `${name} ${version}: ${license}\n${text}`;
}

/** @returns the plugin of the page, which writes the file, and the one of its workers, which are built before it */
export function licences(fileName) {
  const folders = new Set();
  const collect = (bundle) => {
    const ids = Object.values(bundle).flatMap((chunk) => chunk.moduleIds ?? []);
    for (const id of ids) if (folderOf(id) !== null) folders.add(folderOf(id));
  };
  return {
    page: {
      name: 'licences',
      generateBundle(_, bundle) {
        collect(bundle);
        const rule = `\n${'-'.repeat(80)}\n\n`;
        this.emitFile({ type: 'asset', fileName, source: [...folders].sort().map(licenceOf).join(rule) });
      },
    },
    worker: { name: 'licences', generateBundle: (_, bundle) => collect(bundle) },
  };
}
