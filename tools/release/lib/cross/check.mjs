import { readFileSync } from 'node:fs';
import { inspectBinary, targetName } from '@lazy-attention/native';
import { readElf } from './elf.mjs';
import { readMachO } from './macho.mjs';
import { readPe } from './pe.mjs';

/** What Node looks up in an addon. */
const ENTRIES = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

/** Newest glibc whose symbols may be asked for, and the macOS that a binary is for. */
const GLIBC = [2, 28];
const MACOS = '11.0';

/** Libraries that every system of a platform has. On Windows Node-API comes from the program itself. */
const LIBRARIES = {
  glibc: /^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux[\w-]*\.so\.\d)$/,
  musl: /^libc\.(so|musl-\w+\.so\.1)$/,
  darwin: /^\/usr\/lib\/lib(System|c\+\+)\.[\w.]*dylib$/,
  win32: /^(node\.exe|kernel32\.dll|ntdll\.dll|api-ms-win-[\w-]+\.dll|ucrtbase\.dll)$/i,
};

/** What zig's linker for macOS exports whatever it is told: weak operators new and delete of the C++ library, and names of its own. */
const MACOS_OWN = /^(_Z(nw|na|dl|da)\w*|_mh_dylib_header|__dso_handle)$/;

/** Sentences, one for each thing that is wrong with a binary for `target` ('linux-x64-glibc'). It is read, not loaded. */
export function binaryFaults(path, target) {
  const found = inspectBinary(path);
  if (found === null) return ['it is not a shared library'];
  if (targetName(found) !== target) return [`it is for ${targetName(found)}, not ${target}`];
  const bytes = readFileSync(path);
  if (found.platform === 'linux') {
    const library = readElf(bytes);
    return [...commonFaults(library, LIBRARIES[found.libc]), ...glibcFaults(library)];
  }
  if (found.platform === 'darwin') {
    const library = readMachO(bytes);
    const exported = library.exported.filter((name) => !MACOS_OWN.test(name));
    return [...commonFaults({ ...library, exported }, LIBRARIES.darwin), ...macosFaults(library, found.arch)];
  }
  return commonFaults(readPe(bytes), LIBRARIES.win32);
}

/** What a binary needs of a system, in words: 'glibc 2.27', 'musl', 'macOS 11.0', 'kernel32.dll, ...'. */
export function needsOf(path) {
  const { platform, libc } = inspectBinary(path);
  const bytes = readFileSync(path);
  if (platform === 'darwin') return `macOS ${readMachO(bytes).macos}`;
  if (platform === 'win32')
    return readPe(bytes)
      .needed.map((name) => name.toLowerCase())
      .sort()
      .join(', ');
  if (libc === 'musl') return 'musl';
  const [newest] = readElf(bytes).versions.map(glibcOf).filter(Boolean).sort(newer);
  return newest === undefined ? 'glibc' : `glibc ${newest.join('.')}`;
}

function commonFaults({ exported, needed, imported }, libraries) {
  const more = exported.filter((name) => !ENTRIES.includes(name));
  return [
    ...ENTRIES.filter((name) => !exported.includes(name)).map((name) => `it does not export ${name}`),
    ...(more.length > 0
      ? [`it exports ${more.length} symbols that Node does not need: ${more.slice(0, 5).join(', ')}`]
      : []),
    ...needed.filter((name) => !libraries.test(name)).map((name) => `it needs ${name}, which not every machine has`),
    ...(imported.some((name) => name.startsWith('napi_')) ? [] : ['it calls nothing of Node-API']),
  ];
}

/** Of the versions of symbols that a library wants. */
export function glibcFaults({ versions }) {
  const beyond = versions.filter((version) => glibcOf(version) && newer(glibcOf(version), GLIBC) < 0);
  return beyond.map((version) => `it needs ${version}; glibc ${GLIBC.join('.')} is the oldest that it should run on`);
}

/** [2, 28] of 'GLIBC_2.28'; undefined for versions of other libraries. */
function glibcOf(version) {
  return /^GLIBC_(\d+)\.(\d+)/.exec(version)?.slice(1, 3).map(Number);
}

/** Newest first. */
function newer([a, b], [c, d]) {
  return c - a || d - b;
}

function macosFaults({ macos, signed }, arch) {
  return [
    ...(macos === MACOS ? [] : [`it is for macOS ${macos}, not ${MACOS}`]),
    ...(signed || arch !== 'arm64' ? [] : ['it is not signed, which macOS on arm64 demands']),
  ];
}
