import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { snippets } from '../../examples/lib/snippets.mjs';
import { root, workspaces } from '../../setup/lib/workspaces.mjs';
import { CASES, NOT_INSTALLED, NOT_RUN } from '../lib/cases.mjs';
import { faults } from '../lib/check.mjs';
import { absoluteLinks, publishedManifest } from '../lib/manifest.mjs';
import { unclearSources } from '../lib/ready.mjs';
import { applyChangesets } from '../lib/repeat-version.mjs';

const here = join(import.meta.dirname, '..');
const WHERE = { url: 'git+https://example.org/a/b.git', web: 'https://example.org/a/b' };
let folder;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lazy-release-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a README away from the repository', () => {
  const links = (text) => absoluteLinks(text, { folder: 'packages/core', web: WHERE.web, ref: 'v1.2.3' });

  it('has links and pictures that work anywhere', () => {
    expect(links('[spec](../../docs/spec.md#forward)')).toBe(
      '[spec](https://example.org/a/b/blob/v1.2.3/docs/spec.md#forward)',
    );
    expect(links('![x](../../docs/architecture.svg)')).toBe(
      '![x](https://example.org/a/b/raw/v1.2.3/docs/architecture.svg)',
    );
  });

  it('keeps links that are whole already', () => {
    for (const text of ['[a](#here)', '[a](https://example.org/)', '[a](mailto:a@example.org)'])
      expect(links(text)).toBe(text);
  });
});

describe('a published package.json', () => {
  const manifest = {
    name: '@lazy-attention/backend-cpu',
    version: '1.2.3',
    files: ['dist'],
    devDependencies: { a: '1' },
  };

  it('names its binaries as optional dependencies of its own version, and where it comes from', () => {
    const published = publishedManifest({
      folder: 'packages/backend-cpu',
      manifest: { ...manifest, scripts: { build: 'x', 'build:native': 'y' } },
      where: WHERE,
      binaries: ['@lazy-attention/backend-cpu-linux-x64-glibc'],
    });
    expect(published).toMatchObject({
      scripts: { 'build:native': 'y' },
      optionalDependencies: { '@lazy-attention/backend-cpu-linux-x64-glibc': '1.2.3' },
      repository: { url: WHERE.url, directory: 'packages/backend-cpu' },
    });
    expect(published).not.toHaveProperty('devDependencies');
  });
});

it('a package that is not fit to publish is told what is wrong with it', () => {
  writeFileSync(join(folder, 'README.md'), 'see [there](other.md)');
  const manifest = {
    name: '@lazy-attention/x',
    version: '1.0.0',
    files: ['dist', 'playground'],
    exports: { '.': { default: './dist/index.js' } },
    dependencies: { '@lazy-attention/core': '^2.0.0' },
  };
  const files = ['README.md', 'package.json', 'dist/.tsbuildinfo'];
  const found = faults({ folder, manifest, files }, new Map([['@lazy-attention/core', '1.0.0']]));
  for (const fault of [
    'package.json has no license',
    'no LICENSE',
    'holds dist/.tsbuildinfo',
    'package.json names dist/index.js, which is not in it',
    "package.json's files have playground, of which nothing is in it",
    'README.md has the relative link other.md',
    'dependencies has @lazy-attention/core ^2.0.0; released is 1.0.0',
  ]) {
    expect(found).toContain(`@lazy-attention/x: ${fault}`);
  }
});

it('a release needs sources that stand in a commit', () => {
  expect(unclearSources('abc')).toEqual([]);
  expect(unclearSources('abc-dirty')).toEqual(['the sources differ from commit abc: commit or undo']);
  expect(unclearSources(null)).toEqual([expect.stringContaining('not a checkout')]);
});

it('every command that a README marks is run from an installation, or it is said why not', () => {
  const run = CASES.flatMap(({ readme, blocks = [], rootBlocks = [] }) => [
    ...blocks.map((name) => `${readme}#${name}`),
    ...rootBlocks.map((name) => `README.md#${name}`),
  ]);
  const promised = snippets().map(({ file, name }) => `${file}#${name}`);
  expect([...run, ...Object.keys(NOT_INSTALLED)].sort()).toEqual(promised.sort());
  const readmes = new Set(CASES.map(({ readme }) => readme));
  const published = workspaces().filter(({ manifest }) => !manifest.private);
  // Users install a backend, not the layer that two of them share.
  const without = published.map(({ folder }) => `${folder}/README.md`).filter((readme) => !readmes.has(readme));
  expect(without).toEqual(['packages/native/README.md']);
});

it('every other command of a README installs what a case installs, or it is said why nobody runs it', () => {
  const readmes = ['README.md', ...workspaces().map(({ folder: workspace }) => `${workspace}/README.md`)];
  const ofUsers = readmes.filter((file) => /^(README|packages|apps)/.test(file));
  // Commands stand in a block that says so, where this test finds them.
  const indented = (file) =>
    readFileSync(join(root, file), 'utf8').match(/^ {4}(npm|npx|node|pip|apt-get|mpirun) .*$/gm) ?? [];
  expect(ofUsers.flatMap(indented)).toEqual([]);
  const commands = ofUsers.flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/(<!-- test: .*-->\n+)?```sh\n([\s\S]*?)```/g)]
      .filter(([, mark]) => mark === undefined)
      .flatMap(([, , code]) => code.split('\n').filter(Boolean))
      .map((line) => `${file}: ${line}`),
  );
  const installed = CASES.flatMap(({ install, more = [] }) => [install, ...more]);
  const isRun = (command) => installed.includes(/: npm install ([^#]+?)\s*(#.*)?$/.exec(command)?.[1]);
  const isSaid = (command) => Object.keys(NOT_RUN).some((known) => command.startsWith(known));
  expect(commands.filter((command) => !isRun(command) && !isSaid(command))).toEqual([]);
  expect(Object.keys(NOT_RUN).filter((known) => !commands.some((command) => command.startsWith(known)))).toEqual([]);
});

it('changesets become versions and CHANGELOGs', { timeout: 300_000 }, () => {
  const copy = join(folder, 'tree');
  const files = [
    ...['package.json', '.changeset', 'packages/core/src/version.ts'],
    ...workspaces().map(({ folder: workspace }) => `${workspace}/package.json`),
  ];
  for (const file of files) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file), { recursive: true });
  }
  writeFileSync(join(copy, '.changeset/rehearsal.md'), "---\n'@lazy-attention/core': minor\n---\n\nA rehearsal.\n");
  execFileSync('git', ['init', '-q', '-b', 'main'], { cwd: copy });
  applyChangesets(copy); // the lock file is npm's and needs a registry
  const published = workspaces().filter(({ manifest }) => !manifest.private);
  const versions = published.map(
    ({ folder: w }) => JSON.parse(readFileSync(join(copy, w, 'package.json'), 'utf8')).version,
  );
  expect(new Set(versions).size).toBe(1);
  expect(versions[0]).not.toBe(published[0].manifest.version);
  for (const { folder: workspace } of published) {
    expect(existsSync(join(copy, workspace, 'CHANGELOG.md')), workspace).toBe(true);
  }
  expect(readFileSync(join(copy, 'packages/core/CHANGELOG.md'), 'utf8')).toContain('A rehearsal.');
});

it('every package is made, published to a registry on localhost, installed and run', {
  timeout: 1_200_000,
}, (context) => {
  if (!process.env.CI) context.skip('takes minutes and a network: npm run release -- --dry-run; CI runs it (--brief)');
  if (process.platform === 'win32') context.skip('the empty folders of the rehearsal need sh');
  const out = join(folder, 'out');
  const args = [join(here, 'release.mjs'), '--dry-run', '--brief', '--out', out];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (stderr.includes('verdaccio cannot be installed here')) context.skip('npm cannot install verdaccio here');
  expect(status, stdout + stderr).toBe(0);
  const installs = JSON.parse(readFileSync(join(out, 'installs.json'), 'utf8'));
  expect(installs.map(({ name }) => name)).toContain('lazy-attention');
});
