import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ours = (name) => name.startsWith('@lazy-attention/');

/** Published packages of TypeScript alone: JSR takes sources, and neither binaries nor names without a scope. */
export function jsrPackages(workspaces) {
  const native = ({ manifest }) =>
    manifest.name === '@lazy-attention/native' || '@lazy-attention/native' in (manifest.dependencies ?? {});
  return workspaces.filter((entry) => !entry.manifest.private && ours(entry.manifest.name) && !native(entry));
}

/** What JSR wants to know of a package: its sources in place of what is built, and where each import comes from. */
export function jsrManifest({ name, version, license, exports: entries, dependencies, peerDependencies }) {
  const from = Object.entries({ ...dependencies, ...peerDependencies });
  return {
    name,
    version,
    license,
    exports: Object.fromEntries(Object.entries(entries).flatMap(([entry, value]) => sourcesOf(entry, value))),
    // A specifier has no `>=`.
    imports: Object.fromEntries(
      from.map(([to, range]) => [to, `${ours(to) ? 'jsr' : 'npm'}:${to}@${range.replace('>=', '^')}`]),
    ),
    publish: { include: ['src', 'LICENSE', 'README.md'] },
  };
}

/** JSR has no conditions: what a browser takes is an entry of its own. */
function sourcesOf(entry, value) {
  const source = (built) => built.replace('./dist/', './src/').replace(/\.js$/, '.ts');
  const browser = value.browser?.default ?? value.browser;
  return [
    [entry, source(value.default)],
    ...(browser === undefined || entry !== '.' ? [] : [['./browser', source(browser)]]),
  ];
}

/** Lays the packages out under `out` as one workspace of Deno, which finds them there rather than at JSR. */
export function stageForJsr({ root, packages, out }) {
  rmSync(out, { recursive: true, force: true });
  for (const { folder, manifest } of packages) {
    const to = join(out, folder);
    mkdirSync(to, { recursive: true });
    cpSync(join(root, folder, 'src'), join(to, 'src'), { recursive: true });
    copyFileSync(join(root, folder, 'README.md'), join(to, 'README.md'));
    copyFileSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
    writeFileSync(join(to, 'deno.json'), `${JSON.stringify(jsrManifest(manifest), null, 2)}\n`);
  }
  joinOwner(join(out, 'packages/core/src'));
  const workspace = packages.map(({ folder }) => `./${folder}`);
  writeFileSync(join(out, 'deno.json'), `${JSON.stringify({ workspace }, null, 2)}\n`);
}

/**
 * JSR takes no `declare module`, by which core's tensor learns that its owner is a `Backend` without an import that would close a
 * circle: there the import stands.
 */
function joinOwner(core) {
  replaceIn(
    join(core, 'backend.ts'),
    "declare module './lifetimes/tensor.ts' {\n  interface TensorOwner extends Backend {}\n}\n",
    '',
  );
  replaceIn(
    join(core, 'lifetimes/tensor.ts'),
    'export interface TensorOwner {\n',
    "import type { Backend } from '../backend.ts';\n\nexport interface TensorOwner extends Backend {\n",
  );
}

function replaceIn(path, old, text) {
  const source = readFileSync(path, 'utf8');
  if (!source.includes(old)) throw new Error(`${path} has no\n${old}`);
  writeFileSync(path, source.replace(old, text));
}
