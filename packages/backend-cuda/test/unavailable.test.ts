import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addonPlace, currentTarget, locateAddon, probeAddon, targetName } from '@lazy-attention/native';
import { misfits, runIn } from '@lazy-attention/native/testing';
import { afterAll, describe, expect, test } from 'vitest';

const directory = join(import.meta.dirname, '..');
const target = targetName(currentTarget());
const build = { script: 'build:cuda', needs: 'the CUDA toolkit' };
const place = addonPlace({ name: 'cuda', directory, file: 'lazy_cuda.node', build });
const fake = join(directory, 'build', `${target}-emulated`, 'lazy_cuda_fake.node');

/** What `probe` and `create` say on a machine that test/cpp/fake_runtime.cpp makes up. */
function onMachine(machine: string, options: object = {}, env: Record<string, string> = {}) {
  const source = `
    import { provider } from '@lazy-attention/backend-cuda';
    const probe = await provider.probe();
    const error = await provider.create(${JSON.stringify(options)}).then(
      (kernels) => kernels.dispose(),
      ({ name, code, message, fix }) => ({ name, code, message, fix }),
    );
    console.log(JSON.stringify({ probe, error }));`;
  return JSON.parse(runIn(directory, source, { LAZY_ATTENTION_CUDA_ADDON: fake, LAZY_FAKE_GPU: machine, ...env })) as {
    probe: { available: boolean; device: string; reason: string; fix?: string };
    error?: { name: string; code: string; message: string; fix?: string };
  };
}

// machine, what was found, the fix
const MACHINES: Readonly<Record<string, readonly [string, RegExp, RegExp]>> = {
  'no driver': ['driver=0', /^no NVIDIA driver was found/, /install NVIDIA's driver for CUDA 13\.0 or later/],
  'driver too old': [
    'driver=12080',
    /driver supports CUDA 12\.8; this build needs 13\.0/,
    /update NVIDIA's driver to one for CUDA 13\.0 \(version 580/,
  ],
  'no device': [
    'devices=0',
    /driver \(CUDA 13\.0\) reports no usable device: no CUDA-capable device/,
    /CUDA_VISIBLE_DEVICES/,
  ],
  'device of an older architecture': [
    'capability=75',
    /fake GPU has compute capability 7\.5; the kernels need 8\.0/,
    /newer GPU, or the webgpu backend/,
  ],
  'device held by another process': [
    'busy=1',
    /fake GPU cannot be used: .*busy or unavailable/,
    /another process holds it/,
  ],
  'device without memory': [
    'memory=100',
    /fake GPU has no memory left: 100 of \d+ bytes are free/,
    /end the processes that nvidia-smi lists/,
  ],
  'no code for the device': [
    'image=0 capability=121',
    /compute capability 12\.1\) failed a test kernel: .*no kernel image/,
    /npm run build:cuda -- --architectures=native/,
  ],
};

describe('machines that cannot run it', () => {
  for (const [name, [machine, reason, fix]] of Object.entries(MACHINES)) {
    test(`${name}: named, with the fix`, (context) => {
      if (!existsSync(fake)) context.skip('no C++ compiler built the addon with a made-up driver');
      const { probe, error } = onMachine(machine);
      expect(probe).toMatchObject({ available: false, device: '' });
      expect(probe.reason).toMatch(reason);
      expect(probe.fix).toMatch(fix);
      expect(error).toMatchObject({ name: 'BackendUnavailableError', code: 'BACKEND_UNAVAILABLE', fix: probe.fix });
      expect(error?.message).toContain(probe.reason);
    });
  }

  test('a device that is not there', (context) => {
    if (!existsSync(fake)) context.skip('no C++ compiler built the addon with a made-up driver');
    const { probe, error } = onMachine('devices=2', { device: 2 });
    expect(probe.available).toBe(true);
    expect(error).toMatchObject({ name: 'BackendUnavailableError' });
    expect(error?.message).toMatch(/device 2 was asked for; there are 2/);
    expect(error?.fix).toMatch(/LAZY_ATTENTION_CUDA_DEVICE\) from 0 to 1/);
    expect(onMachine('devices=2', {}, { LAZY_ATTENTION_CUDA_DEVICE: '2' }).probe.reason).toMatch(/there are 2/);
  });

  test('cuBLAS is missing: named where it is required, done without where not', (context) => {
    if (!existsSync(fake)) context.skip('no C++ compiler built the addon with a made-up driver');
    const without = { LAZY_ATTENTION_CUBLASLT: '/nowhere/libcublasLt.so' };
    const { probe, error } = onMachine('', { cublas: 'required' }, without);
    expect(probe.available).toBe(true);
    expect(error).toMatchObject({ name: 'BackendUnavailableError' });
    expect(error?.message).toMatch(/option cublas is 'required', and cuBLASLt cannot be loaded: /);
    expect(error?.fix).toMatch(/install NVIDIA's cuBLAS for CUDA 12 or 13.*LAZY_ATTENTION_CUBLASLT/);
    expect(onMachine('', { cublas: 'auto' }, without).error).toBeUndefined();
  });
});

describe('binaries that do not fit', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-cuda-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('none at all: where it was looked for, and the command', async () => {
    const { result } = await probeAddon({ ...place, directory: folder, packageName: '@lazy-attention/nowhere' });
    expect(result.reason).toContain(`there is no binary for ${target}`);
    expect(result.reason).toContain(`'@lazy-attention/nowhere-${target}'`);
    expect(result.fix).toContain(`npm run build:cuda --prefix "${folder}"`);
    expect(result.fix).toContain('CUDA toolkit');
  });

  // The real binary where nvcc made one.
  const real = locateAddon(place).path;
  const binary = real ?? fake;
  test.runIf(existsSync(binary)).each(existsSync(binary) ? misfits(place, binary) : [])(
    '$name',
    async ({ name, probe, reason }) => {
      const result = await probe(join(folder, name));
      expect(result.available).toBe(false);
      expect(result.reason).toMatch(reason);
      expect(result.fix).toContain('npm run build:cuda');
    },
  );
});
