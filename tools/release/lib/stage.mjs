import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { platformPackage } from '@lazy-attention/native/pack';
import { absoluteLinks, identity, publishedManifest } from './manifest.mjs';
import { npm } from './npm.mjs';

/** The native packages and their binaries. */
export const NATIVE = {
  'backend-cpu': 'lazy_cpu.node',
  'backend-cuda': 'lazy_cuda.node',
  'communicator-mpi': 'lazy_mpi.node',
};

const UNIX = [
  'linux-x64-glibc',
  'linux-x64-musl',
  'linux-arm64-glibc',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
];

/** Platforms that a release must have a binary for, by package; more are taken along. */
export const REQUIRED = {
  'backend-cpu': [...UNIX, 'win32-x64', 'win32-arm64'],
  'backend-cuda': ['linux-x64-glibc'],
  'communicator-mpi': UNIX,
};

/** Build information, and what only a checkout has. */
const LEFT_OUT = /(^|[\\/])(\.tsbuildinfo|[^\\/]*\.tsbuildinfo|node_modules|\.DS_Store)$/;

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

/** Binaries that lie in build/<target>/ of a native package: [{ target, path }]. */
export function binariesOf(root, backend) {
  const build = join(root, 'packages', backend, 'build');
  if (!existsSync(build)) return [];
  return readdirSync(build)
    .filter((target) => /^(linux-(x64|arm64)-(glibc|musl)|(darwin|win32)-(x64|arm64))$/.test(target))
    .map((target) => ({ target, path: join(build, target, NATIVE[backend]) }))
    .filter(({ path }) => existsSync(path));
}

/**
 * Lays out every public package under `out` as it is published.
 *
 * @returns [{ name, folder, manifest }], binary packages before the package that names them
 */
export function stageAll({ root, workspaces, where, out }) {
  const staged = [];
  for (const { folder, manifest } of workspaces) {
    if (manifest.private) continue;
    const short = manifest.name.replace('@lazy-attention/', '');
    const binaries = short in NATIVE ? stageBinaries({ root, folder, manifest, where, out, backend: short }) : [];
    const to = join(out, short);
    mkdirSync(to, { recursive: true });
    // What a package takes from its neighbours before it is packed, as npm would: the playground's page.
    if (manifest.scripts?.prepack) npm(['run', '--silent', 'prepack'], { cwd: join(root, folder), stdio: 'inherit' });
    const published = publishedManifest({ folder, manifest, where, binaries: binaries.map(({ name }) => name) });
    for (const path of published.files) {
      const from = join(root, folder, path);
      if (!existsSync(from)) continue; // a changelog before the first release
      mkdirSync(join(to, path, '..'), { recursive: true });
      cpSync(from, join(to, path), { recursive: true, filter: (source) => !LEFT_OUT.test(source) });
    }
    const readme = readFileSync(join(root, folder, 'README.md'), 'utf8');
    const ref = `v${manifest.version}`;
    writeFileSync(join(to, 'README.md'), absoluteLinks(readme, { folder, web: where.web, ref }));
    copyFileSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
    writeJson(join(to, 'package.json'), published);
    staged.push(...binaries, { name: manifest.name, folder: to, manifest: published });
  }
  return staged;
}

function stageBinaries({ root, folder, manifest, where, out, backend }) {
  return binariesOf(root, backend).map(({ target, path }) => {
    const stage = join(out, `${backend}-binaries`);
    mkdirSync(stage, { recursive: true });
    const to = platformPackage({ stage, manifest, target, binary: path, file: NATIVE[backend] });
    copyFileSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
    const published = readJson(join(to, 'package.json'));
    Object.assign(published, identity(manifest.name, folder, where), { publishConfig: { access: 'public' } });
    writeJson(join(to, 'package.json'), published);
    return { name: published.name, folder: to, manifest: published };
  });
}

/** Packs staged folders as `npm publish` would; runs none of their scripts. @returns [{ tarball, size, files }], in their order */
export function packAll(folders, out) {
  const packed = npm(['pack', ...folders, '--json', '--ignore-scripts', '--pack-destination', out], {
    cwd: out,
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  });
  return JSON.parse(packed).map(({ filename, size, files }) => ({
    tarball: join(out, filename),
    size,
    files: files.map(({ path }) => path),
  }));
}
