import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addonPlace, currentTarget, locateAddon, targetName } from '@lazy-attention/native';
import { installOffline, packWithDependencies, runIn } from '@lazy-attention/native/testing';
import { afterAll, expect, test } from 'vitest';

const directory = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'lazy-install-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the packages install without a network, and the backend runs', { timeout: 400_000 }, () => {
  const [tarballs, empty] = [join(folder, 'tarballs'), join(folder, 'empty')];
  for (const path of [tarballs, empty]) mkdirSync(path);
  const binary = locateAddon(addonPlace({ name: 'cpu', directory, file: 'lazy_cpu.node' })).path as string;
  installOffline(empty, packWithDependencies(directory, binary, tarballs));
  const installed = readdirSync(join(empty, 'node_modules', '@lazy-attention')).sort();
  expect(installed).toEqual(['backend-cpu', `backend-cpu-${targetName(currentTarget())}`, 'core', 'native']);
  const source = `
    import { createBackend, probeBackends } from '@lazy-attention/core';
    const backend = await createBackend('auto');
    const sum = await backend.sum(backend.full([1000], 0.5)).data();
    const probes = await probeBackends();
    console.log(JSON.stringify({ name: backend.name, sum: sum[0], probes }));
    await backend.dispose();`;
  const { name, sum, probes } = JSON.parse(runIn(empty, source));
  expect({ name, sum }).toEqual({ name: 'cpu', sum: 500 });
  expect(probes).toContainEqual(expect.objectContaining({ name: 'cpu', available: true }));
  expect(probes).toContainEqual(
    expect.objectContaining({ name: 'cuda', reason: "package '@lazy-attention/backend-cuda' is not installed" }),
  );
});
