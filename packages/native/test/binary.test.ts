import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { hostTarget } from '../scripts/build-addon.mjs';
import { currentTarget, inspectBinary, libcOfProgram, targetName } from '../src/binary.ts';

const folder = mkdtempSync(join(tmpdir(), 'lazy-native-'));
afterAll(() => rmSync(folder, { recursive: true }));

function written(name: string, bytes: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

function elf(machine: number, library: string): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.writeUInt32BE(0x7f454c46, 0);
  bytes.writeUInt16LE(machine, 18);
  return Buffer.concat([bytes, Buffer.from(library)]);
}

test('this process has a target, and the build script agrees on its name', () => {
  const target = currentTarget();
  expect(target).toMatchObject({ platform: process.platform, arch: process.arch });
  expect(targetName(target)).toBe(hostTarget());
});

test.each([
  [62, 'libc.so.6', { platform: 'linux', arch: 'x64', libc: 'glibc' }],
  [183, 'libc.musl-aarch64.so.1', { platform: 'linux', arch: 'arm64', libc: 'musl' }],
  [62, '\0libc.so\0', { platform: 'linux', arch: 'x64', libc: 'musl' }],
  [243, '', { platform: 'linux', arch: 'riscv64', libc: '' }],
  [9999, '', { platform: 'linux', arch: 'machine 9999', libc: '' }],
])('ELF machine %i with %s', (machine, library, expected) => {
  expect(inspectBinary(written(`elf-${machine}`, elf(machine, library)))).toEqual(expected);
});

test('Mach-O and PE', () => {
  const mach = Buffer.alloc(128);
  mach.writeUInt32LE(0xfeedfacf, 0);
  mach.writeUInt32LE(0x0100000c, 4);
  expect(inspectBinary(written('mach', mach))).toEqual({ platform: 'darwin', arch: 'arm64', libc: '' });
  const pe = Buffer.alloc(256);
  pe.write('MZ');
  pe.writeUInt32LE(128, 60);
  pe.writeUInt16LE(0xaa64, 132);
  expect(inspectBinary(written('pe', pe))).toEqual({ platform: 'win32', arch: 'arm64', libc: '' });
});

test('anything else is no library', () => {
  expect(inspectBinary(written('text', Buffer.from('hello')))).toBeNull();
  expect(inspectBinary(written('long', Buffer.alloc(4096, 'x')))).toBeNull();
});

// Tools that change where a program looks for libraries move its interpreter's name to the end of the file.
test.each([
  ['/lib/ld-musl-x86_64.so.1', 'musl'],
  ['/lib64/ld-linux-x86-64.so.2', 'glibc'],
] as const)('a program whose interpreter is %s is for %s, wherever the name stands', (interpreter, libc) => {
  const bytes = Buffer.alloc(100_000);
  bytes.writeUInt32BE(0x7f454c46, 0);
  bytes[4] = 2; // 64 bits
  bytes.writeBigUInt64LE(90_000n, 32); // program headers: where, how large, how many
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(2, 56);
  bytes.writeUInt32LE(6, 90_000);
  bytes.writeUInt32LE(3, 90_056);
  bytes.writeBigUInt64LE(95_000n, 90_064);
  bytes.writeBigUInt64LE(BigInt(interpreter.length + 1), 90_088);
  bytes.write(`${interpreter}\0`, 95_000);
  expect(libcOfProgram(written('program', bytes))).toBe(libc);
  expect(libcOfProgram(written('script', Buffer.from('#!/bin/sh\nexec node\n')))).toBeNull();
});
