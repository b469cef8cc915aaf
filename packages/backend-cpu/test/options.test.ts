import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BackendUnavailableError, createBackend, UnsupportedError, ValueError } from '@lazy-attention/core';
import { addonPlace, currentTarget, locateAddon, probeAddon, targetName } from '@lazy-attention/native';
import { misfits } from '@lazy-attention/native/testing';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { provider } from '../src/index.ts';

const directory = join(import.meta.dirname, '..');
const place = addonPlace({ name: 'cpu', directory, file: 'lazy_cpu.node' });
const binary = locateAddon(place).path as string;

test('probe says what it found', async () => {
  const probe = await provider.probe();
  expect(probe).toMatchObject({ available: true, reason: expect.stringMatching(/^native kernels for /) });
  expect(probe.device).toMatch(/, \d+ threads?, (AVX-512|AVX-512 with (AMX|BF16)|AVX2|NEON|portable)$/);
});

// A cross compiler's library once said of every processor that it has nothing: 'portable' was taken, and nobody noticed.
test('the best instruction set of the processor is taken', async (context) => {
  if (process.platform !== 'linux' || process.arch !== 'x64') context.skip('only Linux lists them: /proc/cpuinfo');
  const [, list = ''] = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
  const has = (...names: string[]) => names.every((name) => list.split(' ').includes(name));
  const avx512 = has('avx512f', 'avx512vl', 'avx512bw', 'avx512dq');
  const best = avx512 ? 'AVX-512' : has('avx2', 'fma') ? 'AVX2' : 'portable';
  vi.stubEnv('LAZY_ATTENTION_ISA', '');
  expect((await provider.probe()).device).toMatch(new RegExp(`, ${best}(?: with \\w+)?$`));
  vi.unstubAllEnvs();
});

test('createBackend finds it by name', async () => {
  const backend = await createBackend('cpu', { threads: 1, isa: 'portable' });
  expect(backend.device).toMatch(/, 1 thread, portable$/);
  await backend.dispose();
});

test.each([
  [{ thread: 2 }, "unknown option 'thread'; expected threads, isa, memoryLimit"],
  [{ threads: 0 }, 'threads is 0; expected an integer from 1 to 1024'],
  [{ threads: 1.5 }, 'threads is 1.5;'],
  [{ threads: 'many' }, 'threads is many;'],
  [{ isa: 'sse9' }, 'isa is sse9; expected auto, amx, avx512bf16, avx512, avx2, neon, portable, emulated'],
  [{ memoryLimit: -1 }, 'memoryLimit is -1; expected a positive number of bytes'],
])('option %j is refused', async (options, message) => {
  const error = await provider.create(options).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(ValueError);
  expect((error as Error).message).toContain(message);
});

test('element types that this backend lacks are an UnsupportedError at every door', async () => {
  const kernels = await provider.create({});
  const message = "element type 'f16' is not one that this device has: f32, bf16, i32";
  expect(() => kernels.full([2], 1, 'f16')).toThrow(message);
  expect(() => kernels.upload(new Float32Array(2), [2], 'f16')).toThrow(UnsupportedError);
  const x = { buffer: kernels.full([2], 1, 'f32'), shape: [2], dtype: 'f32' as const };
  expect(() => kernels.cast(x, 'f16')).toThrow(message);
  await kernels.dispose();
});

test('an instruction set that this machine lacks is a BackendUnavailableError that names the others', async () => {
  const foreign = process.arch === 'arm64' ? 'avx2' : 'neon';
  const error = await provider.create({ isa: foreign }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(BackendUnavailableError);
  expect((error as Error).message).toMatch(
    /instruction set '\w+' is not one that this processor and build run \(.*portable.*\)/,
  );
});

test('environment variables stand in for options that are left out, and are checked too', async () => {
  vi.stubEnv('LAZY_ATTENTION_THREADS', '3');
  vi.stubEnv('LAZY_ATTENTION_ISA', 'portable');
  const kernels = await provider.create({});
  expect(kernels.device).toMatch(/, 3 threads, portable$/);
  await kernels.dispose();
  vi.stubEnv('LAZY_ATTENTION_THREADS', 'x');
  await expect(provider.create({})).rejects.toThrow('threads is x;');
  vi.unstubAllEnvs();
});

describe('binaries that do not fit', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-cpu-'));
  const target = currentTarget();
  // A binary that the environment names is taken wherever one looks.
  beforeEach(() => void vi.stubEnv('LAZY_ATTENTION_CPU_ADDON', undefined));
  afterEach(() => void vi.unstubAllEnvs());
  afterAll(() => rmSync(folder, { recursive: true }));

  test('none at all: where it was looked for, and the command', async () => {
    const { result } = await probeAddon({ ...place, directory: folder, packageName: '@lazy-attention/nowhere' });
    expect(result.available).toBe(false);
    expect(result.reason).toContain(`there is no binary for ${targetName(target)}`);
    expect(result.reason).toContain(`'@lazy-attention/nowhere-${targetName(target)}'`);
    expect(result.fix).toContain('npm run build:native');
  });

  test.each(misfits(place, binary))('$name', async ({ name, probe, reason }) => {
    const result = await probe(join(folder, name));
    expect(result.available).toBe(false);
    expect(result.reason).toMatch(reason);
    expect(result.fix).toContain('npm run build:native');
  });
});

test('the environment can name a binary, which has to exist', async () => {
  vi.stubEnv('LAZY_ATTENTION_CPU_ADDON', '/nowhere/lazy_cpu.node');
  const located = locateAddon(place);
  expect(located).toMatchObject({ path: null, reason: '/nowhere/lazy_cpu.node does not exist' });
  vi.unstubAllEnvs();
  expect(createRequire(import.meta.url)(binary).version).toBe(place.version);
});
