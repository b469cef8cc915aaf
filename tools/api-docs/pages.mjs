import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
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
  const { repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const web = repository.url.replace(/^git\+/, '').replace(/\.git$/, '');
  const front = { ...split(FRONT), path: join(OUT, 'front.md') };
  for (const [file, { chapter, title, text, path }] of [...pages, [FRONT, front]]) {
    const link = (target, picture) => {
      if (/^(#|[a-z]+:)/i.test(target)) return target;
      const [to, anchor] = target.split('#');
      const inside = posix.normalize(posix.join(posix.dirname(file), to)).replace(/\/$/, '');
      if (!existsSync(join(root, inside))) throw new Error(`${file}: link to ${target}, which is not there`);
      const page = pages.get(inside) ?? pages.get(`${inside}/README.md`);
      const away = picture ? relative(dirname(path), join(root, inside)) : `${web}/blob/main/${inside}`;
      const place = page === undefined ? away : relative(dirname(path), page.path);
      return `${place.replaceAll('\\', '/')}${anchor === undefined ? '' : `#${anchor}`}`;
    };
    const head = title === null ? '' : `---\ntitle: ${JSON.stringify(title)}\ngroup: ${chapter}\n---\n\n`;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, head + linked(text, link));
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

/** Rewrites the targets of links and pictures outside of code. */
export function linked(text, link) {
  const outside = text.split(/(```[\s\S]*?```|`[^`\n]*`)/);
  // A link's label may hold code or a picture, so labels are not looked into: only what stands between `](` and `)`.
  return outside
    .map((part, i) =>
      i % 2 === 1 ? part : part.replace(/\]\(([^()\s]+)\)/g, (_, target) => `](${link(target, isPicture(target))})`),
    )
    .join('');
}

function isPicture(target) {
  return /\.(svg|png)$/.test(target);
}
