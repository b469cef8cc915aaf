// The per-platform packages of a native backend: `packBackend` is what the backends' pack scripts call.
//
//     npm run pack:platform [-- --out FOLDER] [--targets A,B] [--prebuilt FILE]
//
// Makes two tarballs: the package of this machine's platform, which holds the binary and says by os, cpu and libc where it
// may be installed, and the main package, which names the per-platform packages as optional dependencies. npm installs the
// one that fits; where none does, the backend says how to build from source. The names are written here and nowhere else.
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { hostTarget } from './build-addon.mjs';

/**
 * Packs a backend, as the command line asks.
 *
 * @param {{ directory: string, file: string, buildScript: string, sourceScripts?: string[] }} backend
 *   directory: of the backend's package. file: the binary, 'lazy_cpu.node'. buildScript: the npm script that builds it into
 *   build/<target>; the main package keeps it, and `sourceScripts` beside it.
 */
export function packBackend({ directory, file, buildScript, sourceScripts = [] }) {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: join(directory, 'build', 'packages') },
      // Platforms that the main package names.
      targets: { type: 'string' },
      // A binary that was built before instead of a fresh one.
      prebuilt: { type: 'string' },
    },
  });
  const target = hostTarget();
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const binary = values.prebuilt ?? build(directory, buildScript, join(directory, 'build', target, file));
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const stage = mkdtempSync(join(tmpdir(), 'lazy-pack-'));
  try {
    const tarballs = [
      npmPack(platformPackage({ stage, manifest, target, binary, file }), out),
      npmPack(
        mainPackage({
          stage,
          manifest,
          directory,
          targets: values.targets?.split(',') ?? [target],
          scripts: [buildScript, ...sourceScripts],
        }),
        out,
      ),
    ];
    for (const tarball of tarballs) console.log(tarball);
  } finally {
    rmSync(stage, { recursive: true });
  }
}

function build(directory, script, binary) {
  execFileSync('npm', ['run', '--silent', script], { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'] });
  if (!existsSync(binary)) throw new Error(`npm run ${script} did not make ${binary}`);
  return binary;
}

/** Lays out the package of one platform in a folder of `stage`; gives that folder. */
export function platformPackage({ stage, manifest, target, binary, file }) {
  const folder = join(stage, target);
  mkdirSync(folder);
  copyFileSync(binary, join(folder, file));
  // The host's program knows the host's binaries; a cross build strips its own.
  if (process.platform === 'linux' && target === hostTarget())
    execFileSync('strip', ['--strip-unneeded', join(folder, file)]);
  const [os, cpu, libc] = target.split('-');
  const { version, license, engines } = manifest;
  const name = `${manifest.name}-${target}`;
  writeManifest(folder, {
    name,
    version,
    description: `Binary of ${manifest.name} for ${target}`,
    license,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    exports: { [`./${file}`]: `./${file}`, './package.json': './package.json' },
    files: [file],
    engines,
  });
  writeFileSync(
    join(folder, 'README.md'),
    `# ${name}\n\nThe binary of \`${manifest.name}\` for ${target}. Install that one.\n`,
  );
  return folder;
}

function mainPackage({ stage, manifest, directory, targets, scripts }) {
  const folder = join(stage, 'main');
  mkdirSync(folder);
  for (const path of manifest.files) cpSync(join(directory, path), join(folder, path), { recursive: true });
  const { devDependencies: _, ...rest } = manifest;
  writeManifest(folder, {
    ...rest,
    // Nothing is built at install: a package manager that runs no scripts gets the same.
    scripts: Object.fromEntries(scripts.map((name) => [name, manifest.scripts[name]])),
    optionalDependencies: Object.fromEntries(targets.map((name) => [`${manifest.name}-${name}`, manifest.version])),
  });
  return folder;
}

function writeManifest(folder, content) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
}

/** Packs a package's folder as `npm publish` would; gives the tarball's path. Runs none of the package's scripts. */
function npmPack(folder, out) {
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', out], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return join(out, JSON.parse(packed)[0].filename);
}
