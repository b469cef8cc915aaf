// npm run pack:platform [-- --out FOLDER] [--targets A,B]
//
// Makes two tarballs: the per-platform package of this machine, which holds the binary and says by os, cpu and libc where it
// may be installed, and the main package, which names the per-platform packages as optional dependencies. npm installs the
// one that fits; where none does, the backend says how to build from source. The names are written here and nowhere else.
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildAddon, hostTarget } from '@lazy-attention/native/build';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
const { values } = parseArgs({
  options: { out: { type: 'string', default: join(directory, 'build', 'packages') }, targets: { type: 'string' } },
});
const target = hostTarget();
const targets = values.targets?.split(',') ?? [target];
const out = resolve(values.out);
const binary = 'lazy_cpu.node';

const built = buildAddon({ directory, version: manifest.version });
if (built === null) process.exit(1);
mkdirSync(out, { recursive: true });
const stage = mkdtempSync(join(tmpdir(), 'lazy-cpu-pack-'));
try {
  packPlatform();
  packMain();
} finally {
  rmSync(stage, { recursive: true });
}

function packPlatform() {
  const folder = join(stage, target);
  mkdirSync(folder);
  copyFileSync(join(built, binary), join(folder, binary));
  if (process.platform === 'linux') execFileSync('strip', ['--strip-unneeded', join(folder, binary)]);
  const [os, cpu, libc] = target.split('-');
  const { version, license, engines } = manifest;
  const name = `${manifest.name}-${target}`;
  writeJson(folder, {
    name,
    version,
    description: `Binary of ${manifest.name} for ${target}`,
    license,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    exports: { [`./${binary}`]: `./${binary}`, './package.json': './package.json' },
    files: [binary],
    engines,
  });
  writeFileSync(
    join(folder, 'README.md'),
    `# ${name}\n\nThe binary of \`${manifest.name}\` for ${target}. Install that one.\n`,
  );
  npmPack(folder);
}

function packMain() {
  const folder = join(stage, 'main');
  mkdirSync(folder);
  for (const path of manifest.files) cpSync(join(directory, path), join(folder, path), { recursive: true });
  const { devDependencies: _, ...rest } = manifest;
  const names = targets.map((name) => [`${manifest.name}-${name}`, manifest.version]);
  // Nothing is built at install: a package manager that runs no scripts gets the same.
  const scripts = { 'build:native': manifest.scripts['build:native'] };
  writeJson(folder, { ...rest, scripts, optionalDependencies: Object.fromEntries(names) });
  npmPack(folder);
}

function writeJson(folder, content) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
}

function npmPack(folder) {
  const file = execFileSync('npm', ['pack', '--silent', '--pack-destination', out], { cwd: folder, encoding: 'utf8' });
  console.log(join(out, file.trim()));
}
