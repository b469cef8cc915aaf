import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addonPlace, currentTarget, locateAddon, targetName } from '@lazy-attention/native';
import { installOffline, packWithDependencies, runIn } from '@lazy-attention/native/testing';
import { afterAll, expect, test } from 'vitest';

const directory = join(import.meta.dirname, '..');
const target = targetName(currentTarget());
const folder = mkdtempSync(join(tmpdir(), 'lazy-install-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the packages install without a network, and say what the machine lacks', { timeout: 400_000 }, (context) => {
  // The real binary where nvcc made one; else the one with a made-up driver, which packs and loads alike.
  const real = locateAddon(addonPlace({ name: 'cuda', directory, file: 'lazy_cuda.node' })).path;
  const binary = real ?? join(directory, 'build', `${target}-emulated`, 'lazy_cuda_fake.node');
  if (!existsSync(binary)) context.skip('no compiler built a binary that could be packed');
  const [tarballs, empty] = [join(folder, 'tarballs'), join(folder, 'empty')];
  for (const path of [tarballs, empty]) mkdirSync(path);
  installOffline(empty, packWithDependencies(directory, binary, tarballs));

  const packages = join(empty, 'node_modules', '@lazy-attention');
  expect(readdirSync(packages).sort()).toEqual(['backend-cuda', `backend-cuda-${target}`, 'core', 'native']);
  const manifest = (name: string) => JSON.parse(readFileSync(join(packages, name, 'package.json'), 'utf8'));
  const [os, cpu, libc] = target.split('-');
  expect(manifest(`backend-cuda-${target}`)).toMatchObject({ os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) });
  const { version, scripts, optionalDependencies } = manifest('backend-cuda');
  expect(optionalDependencies).toEqual({ [`@lazy-attention/backend-cuda-${target}`]: version });
  expect(Object.keys(scripts).sort()).toEqual(['build:cuda', 'build:emulated']);

  const source = `
    import { probeBackends } from '@lazy-attention/core';
    console.log(JSON.stringify(await probeBackends()));`;
  const probe = () =>
    JSON.parse(runIn(empty, source, { LAZY_FAKE_GPU: 'driver=0' })).find(
      ({ name }: { name: string }) => name === 'cuda',
    );
  const found = probe();
  // Loaded, whatever it found: the reason is the binary's own.
  if (found.available) expect(found.reason).toMatch(/^driver for CUDA /);
  else expect(found.reason).toMatch(/^no NVIDIA driver was found|^the NVIDIA driver /);
  expect(found.available || found.fix).toBeTruthy();

  rmSync(join(packages, `backend-cuda-${target}`), { recursive: true });
  const { reason, fix } = probe();
  expect(reason).toContain(`there is no binary for ${target}`);
  expect(fix).toContain(`npm run build:cuda --prefix "${join(packages, 'backend-cuda')}"`);
});
