// Builds a backend's addon with CMake: `buildAddon` is what the backends' build scripts call.
//
// Without a compiler it says so and reports false, for the rest of the repository does not need it; with a compiler, an
// error of it is an error. Headers come from the npm packages node-addon-api and node-api-headers: nothing is downloaded.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const nativePackage = dirname(dirname(fileURLToPath(import.meta.url)));

/** 'linux-x64-glibc', as src/binary.ts names it. */
export function hostTarget() {
  const libc =
    process.platform !== 'linux' ? '' : readFileSync(process.execPath).includes('ld-musl-') ? '-musl' : '-glibc';
  return `${process.platform}-${process.arch}${libc}`;
}

function runs(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** A folder of an npm package that this one depends on: of its headers, say. */
export function includes(name, folder) {
  return join(dirname(require.resolve(`${name}/package.json`)), folder);
}

/** A C++ compiler's name, or null. */
function findCompiler() {
  const candidates = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
  return candidates.find((candidate) => runs(candidate, ['--version'])) ?? null;
}

/** CMake refuses a folder that was made under another path: where the checkout was moved or copied, it is made anew. */
function forgetMoved(work) {
  const cache = join(work, 'CMakeCache.txt');
  if (!existsSync(cache)) return;
  const made = /^CMAKE_CACHEFILE_DIR:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  const here = made !== undefined && existsSync(made) && realpathSync(made) === realpathSync(work);
  if (!here) rmSync(work, { recursive: true, force: true });
}

/**
 * @param {{ directory: string, version: string, variant?: string, defines?: Record<string, string>, compiler?: string | null,
 *   output?: string }} build
 *   directory: of the backend's package, with CMakeLists.txt. variant: appended to the output folder's name. compiler: one for
 *   another machine, which `defines` describe to CMake. output: the binary's folder instead of build/<target>.
 * @returns {string | null} folder of the binary; null when there is nothing to build with.
 */
export function buildAddon({
  directory,
  version,
  variant = '',
  defines = {},
  compiler = findCompiler(),
  output = join(directory, 'build', `${hostTarget()}${variant}`),
}) {
  const cmake = process.env.CMAKE ?? 'cmake';
  const missing = [
    ...(compiler ? [] : ['a C++17 compiler (g++ or clang++)']),
    ...(runs(cmake, ['--version']) ? [] : ['CMake 3.18']),
  ];
  if (missing.length > 0) {
    console.warn(
      `native build skipped: ${missing.join(' and ')} not found. Install it and run this again, or use a prebuilt package; ` +
        'until then this backend reports that it has no binary.',
    );
    return null;
  }
  mkdirSync(output, { recursive: true });
  const settings = {
    CMAKE_BUILD_TYPE: 'Release',
    LAZY_VERSION: version,
    LAZY_NATIVE_PACKAGE: nativePackage,
    NODE_ADDON_API_DIR: includes('node-addon-api', '.'),
    NODE_API_HEADERS_DIR: includes('node-api-headers', 'include'),
    CMAKE_LIBRARY_OUTPUT_DIRECTORY: output,
    ...defines,
  };
  const work = join(output, 'cmake');
  forgetMoved(work);
  const steps = [
    ['-S', directory, '-B', work, ...Object.entries(settings).map(([key, value]) => `-D${key}=${value}`)],
    ['--build', work, '--parallel', String(Math.min(availableParallelism(), 8))],
  ];
  for (const args of steps) {
    const { status, stdout, stderr } = spawnSync(cmake, args, {
      encoding: 'utf8',
      env: { ...process.env, CXX: compiler },
      maxBuffer: 1 << 28,
    });
    if (status !== 0) throw new Error(`cmake ${args[0]} failed:\n${stdout}\n${stderr}`);
  }
  return output;
}
