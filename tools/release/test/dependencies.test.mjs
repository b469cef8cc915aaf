import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root, workspaces } from '../../setup/lib/workspaces.mjs';

const text = readFileSync(join(root, 'docs/dependencies.md'), 'utf8');
const ours = (name) => name === 'lazy-attention' || name.startsWith('@lazy-attention/');

/** Dependency -> short names of the packages that have it in `fields`. */
function declared(fields) {
  const found = new Map();
  for (const { manifest } of workspaces().filter((entry) => !entry.manifest.private)) {
    const names = fields.flatMap((field) => Object.keys(manifest[field] ?? {}));
    for (const name of names.filter((entry) => !ours(entry))) {
      found.set(name, [...(found.get(name) ?? []), manifest.name.replace('@lazy-attention/', '')]);
    }
  }
  return found;
}

/** The rows under a heading: [{ names, of, licence }]. */
function rows(heading) {
  const section = text.split(`## ${heading}\n`)[1].split('\n## ')[0];
  return section.split('\n').flatMap((line) => {
    if (!line.startsWith('| `')) return [];
    const [, names, of, , licence] = line.split('|').map((cell) => cell.trim());
    return [{ names: [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name), of: of.split(', ').sort(), licence }];
  });
}

it.each([
  ['Installed with a package', ['dependencies', 'optionalDependencies']],
  ['Brought by the user', ['peerDependencies']],
])('%s: docs/dependencies.md names all of them, with the packages that have them', (heading, fields) => {
  const listed = rows(heading).flatMap(({ names, of }) => names.map((name) => [name, of]));
  const there = [...declared(fields)].map(([name, of]) => [name, of.sort()]);
  const sorted = (list) => list.sort(([a], [b]) => (a < b ? -1 : 1));
  expect(sorted(listed)).toEqual(sorted(there));
});

it('the licences are those of what is installed', () => {
  const all = ['Installed with a package', 'Brought by the user'].flatMap(rows);
  for (const { names, licence } of all) {
    for (const name of names) {
      const path = join(root, 'node_modules', name, 'package.json');
      if (existsSync(path)) expect([name, JSON.parse(readFileSync(path, 'utf8')).license]).toEqual([name, licence]);
    }
  }
});

it('what is inside of the playground is named, with its licence', () => {
  const built = readFileSync(join(root, 'apps/playground/dist/licenses.txt'), 'utf8');
  const inside = [...built.matchAll(/^(\S+) \d+\.\d+\.\d+: (.+)$/gm)].map(([, name, licence]) => [name, licence]);
  expect(inside.map(([name]) => name)).toEqual(expect.arrayContaining(['preact', 'valibot'])); // of the page, of its worker
  const section = text.split('## Inside what is published\n')[1].split('\n## ')[0];
  const listed = section.split('\n').flatMap((line) => {
    const [, names = '', where, , licence] = line.split('|').map((cell) => cell.trim());
    return where === 'the playground' ? [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => [name, licence]) : [];
  });
  const sorted = (list) => list.sort(([a], [b]) => (a < b ? -1 : 1));
  expect(sorted(listed)).toEqual(sorted(inside));
});

it('what comes through the dependencies of the command is named, and none of it runs a script at install', () => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const seen = new Set();
  const visit = (path) => {
    const entry = packages[path];
    if (entry?.link) return visit(entry.resolved);
    if (entry === undefined || seen.has(path)) return;
    seen.add(path);
    for (const name of Object.keys(entry.dependencies ?? {})) {
      const nested = `${path}/node_modules/${name}`;
      visit(nested in packages ? nested : `node_modules/${name}`);
    }
  };
  visit('apps/train');
  const others = [...seen].filter((path) => path.includes('node_modules/'));
  for (const path of others) {
    expect(text).toContain(`\`${path.split('node_modules/').at(-1)}\``);
    expect([path, packages[path].hasInstallScript ?? false]).toEqual([path, false]);
  }
  expect(text).toContain(`is ${others.length} packages of others beside ${seen.size - others.length} of this project`);
});

it('the lock file is beyond every advisory that docs/dependencies.md knows', () => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const section = text.split('## Known advisories\n')[1].split('\n## ')[0];
  const known = [...section.matchAll(/^\| `([^`]+)` \| GHSA[^|]* \| ([\d.]+) \|/gm)];
  expect(known.length).toBeGreaterThan(5);
  for (const [, name, free] of known) {
    const locked = Object.entries(packages).filter(([path]) => path.endsWith(`node_modules/${name}`));
    expect(locked.length, name).toBeGreaterThan(0);
    for (const [path, { version }] of locked) {
      expect(version.localeCompare(free, 'en', { numeric: true }), `${path} ${version}`).toBeGreaterThanOrEqual(0);
    }
  }
});
