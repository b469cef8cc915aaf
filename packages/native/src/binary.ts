import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** The machine that a binary is for; '' where its format does not say. */
export interface Target {
  /** As `process.platform`. */
  readonly platform: string;
  /** As `process.arch`. */
  readonly arch: string;
  /** Linux only. */
  readonly libc: '' | 'glibc' | 'musl';
}

/** This process's machine. */
export function currentTarget(): Target {
  return { platform: process.platform, arch: process.arch, libc: process.platform === 'linux' ? libcOf() : '' };
}

/** 'linux-x64-glibc', 'darwin-arm64': names build folders and per-platform packages. */
export function targetName({ platform, arch, libc }: Target): string {
  return libc === '' ? `${platform}-${arch}` : `${platform}-${arch}-${libc}`;
}

let libc: 'glibc' | 'musl' | undefined;

/** Node's own executable depends on the C library that a binary beside it needs. */
function libcOf(): 'glibc' | 'musl' {
  libc ??= libcOfProgram(process.execPath) ?? 'glibc';
  return libc;
}

/** Of a program: what its interpreter is, or what its beginning names. null where neither tells. */
export function libcOfProgram(path: string): 'glibc' | 'musl' | null {
  const head = firstBytes(path, 1 << 16);
  const interpreter = interpreterOf(path, head);
  return (interpreter === null ? null : libcOfELF(interpreter)) ?? libcOfELF(head);
}

/** The path of an ELF program's interpreter, which may stand anywhere in the file; null where it has none. */
function interpreterOf(path: string, head: Buffer): Buffer | null {
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2) return null;
  const [table, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  const entries = bytesAt(path, table, size * count);
  for (let at = 0; at + 40 <= entries.length; at += size) {
    if (entries.readUInt32LE(at) !== PT_INTERP) continue;
    return bytesAt(path, Number(entries.readBigUInt64LE(at + 8)), Number(entries.readBigUInt64LE(at + 32)));
  }
  return null;
}

/** Type of the program header that names the interpreter. */
const PT_INTERP = 3;

/** Reads the header of a shared library (ELF, Mach-O or PE); null when it is none of these. Does not load it. */
export function inspectBinary(path: string): Target | null {
  const head = firstBytes(path, 4096);
  if (head.length < 64) return null;
  if (head.readUInt32BE(0) === 0x7f454c46) {
    return { platform: 'linux', arch: elfArch(head.readUInt16LE(18)), libc: libcOfELF(readFileSync(path)) ?? '' };
  }
  if (head.readUInt32LE(0) === 0xfeedfacf) {
    return { platform: 'darwin', arch: machArch(head.readUInt32LE(4)), libc: '' };
  }
  if (head.readUInt16BE(0) === 0x4d5a) return { platform: 'win32', arch: peArch(head), libc: '' };
  return null;
}

/** The name of the C library, as it stands among the needed libraries or as program interpreter. Musl's own name is libc.so. */
function libcOfELF(bytes: Buffer): 'glibc' | 'musl' | null {
  if (['ld-musl-', 'libc.musl-', '\0libc.so\0'].some((name) => bytes.includes(name))) return 'musl';
  if (bytes.includes('libc.so.6') || bytes.includes('ld-linux')) return 'glibc';
  return null;
}

function elfArch(machine: number): string {
  return { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' }[machine] ?? `machine ${machine}`;
}

/** The header of a PE file stands where its first one says. */
function peArch(head: Buffer): string {
  const at = head.readUInt32LE(60) + 4;
  if (at + 2 > head.length) return '';
  const machine = head.readUInt16LE(at);
  return { 332: 'ia32', 34404: 'x64', 43620: 'arm64' }[machine] ?? `machine ${machine}`;
}

function machArch(type: number): string {
  return { 16777223: 'x64', 16777228: 'arm64' }[type] ?? `type ${type}`;
}

function firstBytes(path: string, count: number): Buffer {
  return bytesAt(path, 0, count);
}

function bytesAt(path: string, position: number, count: number): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(count);
    return bytes.subarray(0, readSync(file, bytes, 0, count, position));
  } finally {
    closeSync(file);
  }
}
