import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Application, Comment, ReflectionKind } from 'typedoc';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '');

/** What npm would publish, as { folder, manifest } with the folder's whole path. */
export function publishedPackages() {
  return ['packages', 'apps']
    .flatMap((group) => readdirSync(join(root, group)).map((name) => join(root, group, name)))
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) }))
    .filter(({ manifest }) => manifest.private !== true);
}

/** The modules that a package exports, as { name, source }: './dist/x.js' is compiled from './src/x.ts'. */
export function entryPoints({ folder, manifest }) {
  return Object.entries(manifest.exports ?? {})
    .map(([path, target]) => ({ path, target: typeof target === 'string' ? target : (target.default ?? '') }))
    .filter(({ target }) => target.endsWith('.js'))
    .map(({ path, target }) => ({
      name: `${manifest.name}${path.slice(1)}`,
      source: join(folder, target.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts')),
    }))
    .filter(({ source }) => existsSync(source));
}

/**
 * Reads the packages with TypeDoc: { app, project }. Types are not checked here, which the build does. `tsconfig` must
 * include their sources; `pages` and `front` are files in Markdown that stand beside the reference and before it.
 */
export async function readReference(
  packages,
  { tsconfig = join(root, 'tools/api-docs/tsconfig.json'), pages = [], front = 'none' } = {},
) {
  const entries = packages.flatMap((published) => entryPoints(published).map((entry) => ({ ...entry, ...published })));
  const app = await Application.bootstrap({
    name: 'lazy-attention',
    entryPoints: entries.map(({ source }) => source),
    tsconfig,
    skipErrorChecking: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    readme: front,
    customCss: join(root, 'tools/api-docs/site.css'),
    projectDocuments: pages,
    sort: ['documents-first', 'source-order'],
    navigation: { includeGroups: true },
    groupOrder: ['Quick starts', 'Backends', 'Questions', 'Guides', 'Packages', 'Background', '*'],
    highlightLanguages: ['bash', 'html', 'javascript', 'json', 'python', 'sh', 'typescript'],
    // Of links; this repository's own are checked below, and shapes in brackets are none.
    logLevel: 'Error',
  });
  const project = await app.convert();
  if (project === undefined) throw new Error('TypeDoc could not read the packages; its message stands above');
  for (const module of project.getChildrenByKind(ReflectionKind.Module)) {
    const entry = entries.find(({ source }) => module.sources?.[0]?.fullFileName === source);
    if (entry === undefined) continue;
    module.name = entry.name;
    module.comment ??= new Comment([{ kind: 'text', text: `${entry.manifest.description}.` }]);
  }
  for (const reflection of Object.values(project.reflections))
    if (reflection.comment) plainBrackets(reflection.comment);
  return { app, project };
}

/** `[B, L]: text` is a shape and not the definition of a link, which would not be shown at all. */
function plainBrackets(comment) {
  for (const parts of [comment.summary, ...comment.blockTags.map((tag) => tag.content)]) {
    const texts = parts.map((part) =>
      part.kind === 'relative-link' && part.target === undefined ? { kind: 'text', text: part.text } : part,
    );
    parts.splice(0, parts.length);
    for (const part of texts) {
      const last = parts.at(-1);
      if (part.kind === 'text' && last?.kind === 'text') last.text += part.text;
      else parts.push({ ...part });
    }
    for (const part of parts) {
      if (part.kind === 'text') part.text = part.text.replaceAll(/^(\s*)\[([^\]\n]*)\]:/gm, '$1\\[$2\\]:');
    }
  }
}

const DOCUMENTED =
  ReflectionKind.Enum |
  ReflectionKind.EnumMember |
  ReflectionKind.Variable |
  ReflectionKind.Function |
  ReflectionKind.Class |
  ReflectionKind.Interface |
  ReflectionKind.Property |
  ReflectionKind.Method |
  ReflectionKind.Accessor |
  ReflectionKind.TypeAlias;

/** Every export and member without a comment of its own or inherited, as { at: 'path:line', name }. */
export function undocumented(project) {
  return project
    .getReflectionsByKind(DOCUMENTED)
    .filter((reflection) => !reflection.inheritedFrom && !isPartOfType(reflection) && !hasComment(reflection))
    .map((reflection) => {
      const [source] = reflection.sources ?? [];
      const at =
        source === undefined ? '?' : `${relative(root, source.fullFileName).replaceAll('\\', '/')}:${source.line}`;
      return { at, name: reflection.getFriendlyFullName() };
    });
}

function hasComment({ comment, signatures = [], getSignature, setSignature, type }) {
  if ([comment, getSignature?.comment, setSignature?.comment].some(Boolean)) return true;
  const calls = [...signatures, ...(type?.declaration?.signatures ?? [])];
  return calls.some((signature) => signature.comment);
}

/** The members of `{ a: A; b: B }` in a signature are told by the signature's own comment. */
function isPartOfType(reflection) {
  for (let { parent } = reflection; parent; parent = parent.parent) {
    if (parent.kind === ReflectionKind.TypeLiteral && parent.parent?.kind !== ReflectionKind.TypeAlias) return true;
    if (parent.kindOf(ReflectionKind.SomeSignature)) return true;
  }
  return false;
}
