import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { addonPlace, locateAddon } from '@lazy-attention/native';
import { expect, test } from 'vitest';

const { path } = locateAddon(
  addonPlace({ name: 'cuda', directory: join(import.meta.dirname, '..'), file: 'lazy_cuda.node' }),
);

test('the binary asks for glibc 2.35 at most, and shows nothing of what is linked into it', (context) => {
  if (path === null) context.skip('no CUDA toolkit built lazy_cuda.node');
  if (spawnSync('readelf', ['--version']).status !== 0) context.skip('there is no readelf');
  const symbols = execFileSync('readelf', ['--dyn-syms', '-W', path as string], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const minors = [...symbols.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
  expect(Math.max(...minors)).toBeLessThanOrEqual(35);
  const shown = symbols.split('\n').filter((line) => / (GLOBAL|WEAK) +DEFAULT +\d+ /.test(line));
  expect(shown.length).toBeLessThanOrEqual(100);
});
