import { join } from 'node:path';
import { expect, it } from 'vitest';
import { asTable, bundleMatrix } from '../lib/matrix.mjs';

const folder = (name) => join(import.meta.dirname, '..', 'build', name);

it('every entry that a page imports bundles with esbuild, without a module of Node, and runs', {
  timeout: 600_000,
}, async () => {
  const cells = await bundleMatrix(folder('bundles-esbuild'), { bundlers: ['esbuild'] });
  expect(cells.filter(({ ok }) => !ok)).toEqual([]);
});

it('with webpack, Vite and Rollup too', { timeout: 1_200_000 }, async (context) => {
  if (!process.env.CI) context.skip('takes half a minute: node tools/release/bundles.mjs; CI runs it');
  const cells = await bundleMatrix(folder('bundles-others'), { bundlers: ['webpack', 'Vite', 'Rollup'] });
  console.log(asTable(cells));
  expect(cells.filter(({ ok }) => !ok)).toEqual([]);
});
