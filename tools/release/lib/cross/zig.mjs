import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { includes } from '@lazy-attention/native/build';

/** Every platform that a binary is cross-built for, and what zig and CMake call it. */
export const TARGETS = {
  // glibc 2.28 is that of RHEL 8 and Debian 10.
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu.2.28', system: 'Linux', processor: 'x86_64' },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu.2.28', system: 'Linux', processor: 'aarch64' },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', system: 'Linux', processor: 'x86_64' },
  'linux-arm64-musl': { zig: 'aarch64-linux-musl', system: 'Linux', processor: 'aarch64' },
  'darwin-x64': { zig: 'x86_64-macos.11.0', system: 'Darwin', processor: 'x86_64' },
  'darwin-arm64': { zig: 'aarch64-macos.11.0', system: 'Darwin', processor: 'arm64' },
  'win32-x64': { zig: 'x86_64-windows-gnu', system: 'Windows', processor: 'x86_64', dll: 'i386:x86-64' },
  'win32-arm64': { zig: 'aarch64-windows-gnu', system: 'Windows', processor: 'arm64', dll: 'arm64' },
};

/** The command that runs zig, as a list of words; null where there is none. ZIG names another than the one on the PATH. */
export function findZig() {
  const candidates = process.env.ZIG ? [[process.env.ZIG]] : [['zig'], ['python3', '-m', 'ziglang']];
  return candidates.find(([program, ...args]) => spawnSync(program, [...args, 'version']).status === 0) ?? null;
}

/**
 * Writes a compiler for one target into `folder`, which must exist for the build.
 *
 * @returns {{ compiler: string, defines: Record<string, string> }} for `buildAddon`
 */
export function crossToolchain(target, zig, folder) {
  const { zig: triple, system, processor, dll } = TARGETS[target];
  mkdirSync(folder, { recursive: true });
  const compiler = script(join(folder, 'c++'), zig, `c++ -target ${triple}`);
  const archiver = script(join(folder, 'ar'), zig, 'ar');
  const ranlib = script(join(folder, 'ranlib'), zig, 'ranlib');
  const defines = {
    CMAKE_SYSTEM_NAME: system,
    CMAKE_SYSTEM_PROCESSOR: processor,
    CMAKE_AR: archiver,
    CMAKE_RANLIB: ranlib,
    // Compiles only: what CMake would link to try the compiler is not what is linked here.
    CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY',
    // -s strips; a binary says its name or path nowhere.
    CMAKE_MODULE_LINKER_FLAGS: dll === undefined ? '-s' : `-s ${nodeLibrary(zig, dll, folder)}`,
  };
  return { compiler, defines };
}

/**
 * A shell script that runs zig with `command`. It leaves out or renames options that zig's linker does not know, and compiles
 * CMake's first question (which compiler is this?) without linking it: that would build a C++ library for nothing.
 */
function script(path, zig, command) {
  const words = zig.map((word) => `'${word}'`).join(' ');
  writeFileSync(
    path,
    `#!/bin/sh
for word; do
  shift
  case "$word" in
    -bundle) word=-shared ;;
    *CMakeCXXCompilerId.cpp) set -- "$@" -c ;;
    -Wl,-headerpad_max_install_names | -Wl,-search_paths_first) continue ;;
  esac
  set -- "$@" "$word"
done
exec ${words} ${command} "$@"
`,
  );
  chmodSync(path, 0o755);
  return path;
}

/** The import library of Node-API's functions, which Windows wants while linking: they come from node.exe. */
function nodeLibrary(zig, machine, folder) {
  const [program, ...args] = zig;
  const definitions = join(includes('node-api-headers', 'def'), 'node_api.def');
  const library = join(folder, 'node.lib');
  execFileSync(program, [...args, 'dlltool', '-m', machine, '-d', definitions, '-l', library]);
  return library;
}
