import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { home, movedLinks } from '../setup/lib/links.mjs';
import { publishedPackages, root } from './reference.mjs';

const OUT = join(root, 'tools/api-docs/build/pages');
const FRONT = 'tools/api-docs/front.md';
const BACKENDS = ['cpu', 'cuda', 'webgpu', 'tfjs', 'reference'].map((name) => `packages/backend-${name}/README.md`);

/** The site's pages in their order: heading -> paths of Markdown files in the repository. */
export function chapters() {
  const inside = (folder, first = []) => {
    const names = readdirSync(join(root, folder)).filter((name) => name.endsWith('.md') && name !== 'README.md');
    return [...first, ...names.filter((name) => !first.includes(name)).sort()].map((name) => `${folder}/${name}`);
  };
  const packages = publishedPackages().map(({ folder }) => `${relative(root, folder).replaceAll('\\', '/')}/README.md`);
  return {
    'Quick starts': inside('docs/quick-starts', ['op-in-node.md', 'op-in-browser.md', 'train.md']),
    Backends: ['docs/backends.md', ...BACKENDS],
    Questions: ['docs/faq.md'],
    Guides: inside('docs/guides'),
    Packages: packages.filter((path) => !BACKENDS.includes(path)),
    Background: ['spec', 'architecture', 'metrics', 'evidence', 'reliability', 'dependencies'].map(
      (name) => `docs/${name}.md`,
    ),
  };
}

/**
 * Writes the pages for TypeDoc, with links among them, to pictures, and to everything else where the sources live.
 * @returns { pages, front }: their paths in the order of `chapters()`, and that of the first page
 */
export function writePages() {
  rmSync(OUT, { recursive: true, force: true });
  const pages = new Map(
    Object.entries(chapters()).flatMap(([chapter, files]) => files.map((file) => [file, { chapter, ...pageOf(file) }])),
  );
  const { web } = home();
  const front = { ...split(FRONT), path: join(OUT, 'front.md') };
  for (const [file, { chapter, title, text, path }] of [...pages, [FRONT, front]]) {
    const place = ({ path: to, anchor, picture }) => {
      const page = pages.get(to) ?? pages.get(`${to}/README.md`);
      const away = picture ? relative(dirname(path), join(root, to)) : `${web}/blob/main/${to}`;
      return `${(page === undefined ? away : relative(dirname(path), page.path)).replaceAll('\\', '/')}${anchor}`;
    };
    const head = title === null ? '' : `---\ntitle: ${JSON.stringify(title)}\ngroup: ${chapter}\n---\n\n`;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, head + movedLinks(text, file, place));
  }
  return { pages: [...pages.values()].map(({ path }) => path), front: front.path };
}

function pageOf(file) {
  return {
    ...split(file),
    path: join(OUT, file.replace(/^(docs|packages|apps)\//, '').replace(/\/README\.md$/, '.md')),
  };
}

/** A page's title is its first heading, of a package without the scope. TypeDoc makes no anchor of code, so headings have none. */
function split(file) {
  const whole = readFileSync(join(root, file), 'utf8');
  const [, heading] = /^# (.+)\n/.exec(whole) ?? [null, null];
  const plain = (line) =>
    line.replaceAll(/`([^`]*)`/g, (_, code) => code.replaceAll('<', '&lt;').replaceAll('*', '\\*'));
  const text = whole.replaceAll(/^#{2,} .+$/gm, plain);
  return { title: heading?.replace('@lazy-attention/', '') ?? null, text };
}
