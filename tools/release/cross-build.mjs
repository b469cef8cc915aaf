// npm run cross-build                  cross-builds the native packages for every platform with zig, checks each binary and puts it
//                                      where a release takes it from: packages/<package>/build/<target>
// --target T[,T...]                    these platforms only, or all
// --package P[,P...]                   of these packages only, or all: backend-cpu, communicator-mpi
//
// zig: on the PATH, or ZIG, or `pip install ziglang`.
import { copyFileSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildAddon } from '@lazy-attention/native/build';
import { root } from '../setup/lib/workspaces.mjs';
import { binaryFaults } from './lib/cross/check.mjs';
import { keep } from './lib/cross/kept.mjs';
import { crossToolchain, findZig, TARGETS } from './lib/cross/zig.mjs';
import { commitHere } from './lib/manifest.mjs';
import { NATIVE, REQUIRED } from './lib/stage.mjs';

const PACKAGES = ['backend-cpu', 'communicator-mpi'];

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'all' },
    package: { type: 'string', default: 'all' },
  },
});

/** The names in a list, of those that there are. */
function chosen(option, list, all) {
  if (list === 'all') return all;
  const names = list.split(',');
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`--${option}: there is no ${unknown.join(', ')}; there is ${all.join(', ')}`);
  return names;
}

/** Builds and checks one binary; gives its path. Nothing is replaced by a binary that has a fault. */
function crossBuild(name, target, zig) {
  const directory = join(root, 'packages', name);
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const work = join(root, 'tools/release/build/cross', name, target);
  const { compiler, defines } = crossToolchain(target, zig, join(work, 'toolchain'));
  const output = buildAddon({ directory, version, compiler, defines, output: work });
  if (output === null) throw new Error('CMake 3.18 or later was not found: install it, or put it on the PATH');
  const built = join(output, NATIVE[name]);
  const faults = binaryFaults(built, target);
  if (faults.length > 0) throw new Error(`${built}:\n  ${faults.join('\n  ')}`);
  const place = join(directory, 'build', target, NATIVE[name]);
  mkdirSync(dirname(place), { recursive: true });
  copyFileSync(built, `${place}.new`); // a process may have the old one loaded
  renameSync(`${place}.new`, place);
  keep(readFileSync(place), { commit: commitHere() ?? '' });
  return place;
}

try {
  const zig = findZig();
  if (zig === null) throw new Error('zig was not found: put it on the PATH, name it in ZIG, or pip install ziglang');
  const targets = chosen('target', values.target, Object.keys(TARGETS));
  const wanted = chosen('package', values.package, PACKAGES).flatMap((name) =>
    targets.filter((target) => REQUIRED[name].includes(target)).map((target) => ({ name, target })),
  );
  if (wanted.length === 0) {
    throw new Error(`--package ${values.package} is not built for ${values.target}; see REQUIRED in lib/stage.mjs`);
  }
  for (const { name, target } of wanted) {
    const start = performance.now();
    const place = crossBuild(name, target, zig);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(`${name} for ${target}: ${(statSync(place).size / 1e3).toFixed(0)} kB in ${seconds} s`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
