import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectBinary } from '@lazy-attention/native';

/** Fields that every published package.json has. */
const FIELDS = ['name', 'version', 'description', 'license', 'repository', 'homepage', 'bugs', 'keywords', 'engines'];

/** Sentences, one for each thing that is wrong with a package. `names`: of all that this release publishes, with versions. */
export function faults({ folder, manifest, files }, names) {
  const found = [
    ...FIELDS.filter((field) => manifest[field] === undefined).map((field) => `package.json has no ${field}`),
    ...['LICENSE', 'README.md', 'package.json'].filter((file) => !files.includes(file)).map((file) => `no ${file}`),
    ...files
      .filter((file) => /tsbuildinfo|node_modules|(^|\/)test\/|\.env|\.npmrc/.test(file))
      .map((f) => `holds ${f}`),
    ...missingEntries(manifest, files).map((path) => `package.json names ${path}, which is not in it`),
    ...emptyFolders(manifest, files).map((path) => `package.json's files have ${path}, of which nothing is in it`),
    ...relativeLinks(join(folder, 'README.md')).map((link) => `README.md has the relative link ${link}`),
    ...wrongVersions(manifest, names),
    ...wrongBinary(folder, manifest),
  ];
  return found.map((fault) => `${manifest.name}: ${fault}`);
}

function missingEntries({ exports: entries = {}, bin = {} }, files) {
  const paths = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(paths));
  return [...paths(entries), ...paths(bin)].map((path) => path.replace(/^\.\//, '')).filter((p) => !files.includes(p));
}

/** Entries of `files` that are not there; a changelog comes with the first release. */
function emptyFolders({ files: listed = [] }, files) {
  const there = (path) => files.some((file) => file === path || file.startsWith(`${path.replace(/\/$/, '')}/`));
  return listed.filter((path) => path !== 'CHANGELOG.md' && !path.includes('*') && !there(path));
}

function relativeLinks(readme) {
  const links = [...readFileSync(readme, 'utf8').matchAll(/\]\(([^()\s]+)\)/g)].map(([, target]) => target);
  return links.filter((target) => !/^(#|[a-z]+:)/i.test(target));
}

function wrongVersions(manifest, names) {
  const ours = (name) => name === 'lazy-attention' || name.startsWith('@lazy-attention/');
  return ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((field) =>
    Object.entries(manifest[field] ?? {})
      .filter(([name, range]) => ours(name) && range.replace(/^\^/, '') !== names.get(name))
      .map(([name, range]) => `${field} has ${name} ${range}; released is ${names.get(name) ?? 'none'}`),
  );
}

/** A binary package says by os, cpu and libc what its binary is for; npm goes by that. */
function wrongBinary(folder, { os, cpu, libc, files }) {
  if (os === undefined) return [];
  const found = inspectBinary(join(folder, files[0]));
  if (found === null) return [`${files[0]} is not a shared library`];
  const said = `${os}-${cpu}-${libc ?? ''}`;
  const is = `${found.platform}-${found.arch || cpu}-${found.libc}`;
  return said === is ? [] : [`says ${said}, and its binary is for ${is}`];
}
