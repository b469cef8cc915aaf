import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { root } from '../../setup/lib/workspaces.mjs';
import { binaryFaults, glibcFaults } from '../lib/cross/check.mjs';
import { readElf } from '../lib/cross/elf.mjs';
import { readMachO } from '../lib/cross/macho.mjs';
import { readPe } from '../lib/cross/pe.mjs';
import { TARGETS } from '../lib/cross/zig.mjs';
import { binariesOf, REQUIRED } from '../lib/stage.mjs';

const ENTRIES = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

it('every platform that a release needs for the CPU and for MPI is one that is cross-built', () => {
  const targets = Object.keys(TARGETS).sort();
  expect([...REQUIRED['backend-cpu']].sort()).toEqual(targets);
  expect(targets).toEqual(expect.arrayContaining(REQUIRED['communicator-mpi']));
});

it('ELF: this machine’s addon exports what Node looks up and nothing else', (context) => {
  const built = binariesOf(root, 'backend-cpu').find(({ target }) => target.startsWith('linux'));
  if (built === undefined) context.skip('there is no addon for Linux');
  const { exported, needed, imported, versions } = readElf(readFileSync(built.path));
  expect(exported.sort()).toEqual(ENTRIES);
  expect(needed.some((name) => name.startsWith('libc.'))).toBe(true);
  expect(imported).toContain('napi_create_function');
  if (built.target.endsWith('glibc')) expect(versions).toContainEqual(expect.stringMatching(/^GLIBC_2\.\d+/));
  // Whatever compiler made it, the one thing that may be wrong is the age of its glibc.
  const faults = binaryFaults(built.path, built.target);
  expect(faults.filter((fault) => !/^it needs GLIBC_/.test(fault))).toEqual([]);
  expect(binaryFaults(built.path, 'darwin-arm64')).toEqual([`it is for ${built.target}, not darwin-arm64`]);
});

it('glibc: 2.28 is the newest that may be asked for', () => {
  expect(glibcFaults({ versions: ['GLIBC_2.28', 'GLIBC_2.2.5', 'CXXABI_1.3'] })).toEqual([]);
  for (const version of ['GLIBC_2.29', 'GLIBC_3.0']) {
    expect(glibcFaults({ versions: [version] })).toEqual([expect.stringContaining(`it needs ${version};`)]);
  }
});

// An addon of one call, made by `zig cc -target aarch64-macos.11.0 -shared`.
it('Mach-O: exports, imports, libraries, the oldest macOS and the signature', () => {
  const bytes = gunzipSync(readFileSync(join(import.meta.dirname, 'fixtures', 'darwin-arm64.node.gz')));
  const { exported, ...rest } = readMachO(bytes);
  expect(exported).toEqual(expect.arrayContaining(ENTRIES));
  expect(rest).toEqual({
    needed: ['/usr/lib/libSystem.B.dylib'],
    imported: ['napi_create_object', 'dyld_stub_binder'],
    macos: '11.0',
    signed: true,
  });
  const folder = mkdtempSync(join(tmpdir(), 'lazy-macho-'));
  try {
    const file = join(folder, 'lazy.node');
    writeFileSync(file, bytes);
    expect(binaryFaults(file, 'darwin-arm64')).toEqual([]);
    const later = Buffer.from(bytes);
    later.writeUInt32LE(12 << 16, minimumAt(later));
    writeFileSync(file, later);
    expect(binaryFaults(file, 'darwin-arm64')).toContain('it is for macOS 12.0, not 11.0');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Where a Mach-O file says the oldest macOS that it is for: in its load command LC_BUILD_VERSION, 0x32. */
function minimumAt(bytes) {
  let at = 32;
  while (bytes.readUInt32LE(at) !== 0x32) at += bytes.readUInt32LE(at + 4);
  return at + 12;
}

it('PE: exports, and imports by library', () => {
  expect(readPe(tinyPe())).toEqual({
    exported: ENTRIES,
    needed: ['node.exe'],
    imported: ['napi_create_object'],
  });
});

/** A PE file of headers and one section, at offset 0x200 and address 0x1000. */
function tinyPe() {
  const bytes = Buffer.alloc(0x400);
  const at = (address) => address - 0x1000 + 0x200;
  bytes.writeUInt32LE(0x40, 60);
  bytes.writeUInt16LE(1, 0x46); // sections
  bytes.writeUInt16LE(240, 0x54); // size of the optional header, which begins at 0x58
  bytes.writeUInt32LE(0x1000, 0x58 + 112);
  bytes.writeUInt32LE(0x1100, 0x58 + 120);
  const section = 0x58 + 240;
  for (const [i, value] of [0x200, 0x1000, 0x200, 0x200].entries()) bytes.writeUInt32LE(value, section + 8 + 4 * i);
  bytes.writeUInt32LE(2, at(0x1000) + 24);
  bytes.writeUInt32LE(0x1030, at(0x1000) + 32);
  for (const [i, name] of ENTRIES.entries()) {
    bytes.writeUInt32LE(0x1040 + 0x30 * i, at(0x1030) + 4 * i);
    bytes.write(name, at(0x1040 + 0x30 * i), 'latin1');
  }
  bytes.writeUInt32LE(0x1140, at(0x1100)); // names of what is imported
  bytes.writeUInt32LE(0x1160, at(0x1100) + 12); // the library's
  bytes.writeBigUInt64LE(0x1170n, at(0x1140));
  bytes.write('node.exe', at(0x1160), 'latin1');
  bytes.write('napi_create_object', at(0x1170) + 2, 'latin1');
  return bytes;
}
