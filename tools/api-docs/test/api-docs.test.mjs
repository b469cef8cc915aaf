import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { chapters, writePages } from '../pages.mjs';
import { entryPoints, publishedPackages, readReference, undocumented } from '../reference.mjs';

const folder = fileURLToPath(new URL('./fixtures/package', import.meta.url));
const fixture = { folder, manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) };

let reference;
beforeAll(async () => {
  reference = await readReference([fixture], { tsconfig: join(folder, 'tsconfig.json') });
}, 120_000);

it('finds every export and member without a comment, and nothing else', () => {
  const missing = undocumented(reference.project);
  const names = ['Bare', 'Sizes.bare', 'Thing.bare', 'Thing.method', 'bare'].map((name) => `fixture.${name}`);
  expect(missing.map(({ name }) => name).sort()).toEqual(names);
  expect(missing.find(({ name }) => name === 'fixture.bare').at).toBe(
    'tools/api-docs/test/fixtures/package/src/index.ts:1',
  );
});

it('names a module after its package, and shows shapes as they stand', async () => {
  const out = join(folder, 'dist-docs');
  onTestFinished(() => rmSync(out, { recursive: true, force: true }));
  await reference.app.generateDocs(reference.project, out);
  expect(readFileSync(join(out, 'modules/fixture.html'), 'utf8')).toContain('What a test reads');
  expect(readFileSync(join(out, 'interfaces/fixture.Sizes.html'), 'utf8')).toContain('[B, L]: first key of each row.');
}, 120_000);

it('knows the modules of what is published', () => {
  const names = publishedPackages()
    .flatMap(entryPoints)
    .map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['@lazy-attention/core', '@lazy-attention/nn/node', 'lazy-attention']));
});

it('has a page for each quick start, backend and package, with links among them', () => {
  const all = Object.values(chapters()).flat();
  expect(new Set(all).size).toBe(all.length);
  expect(all).toEqual(
    expect.arrayContaining(['docs/quick-starts/train.md', 'packages/backend-cuda/README.md', 'docs/faq.md']),
  );
  const { pages, front } = writePages();
  expect(pages.length).toBe(all.length);
  const text = readFileSync(
    pages.find((path) => path.endsWith('backends.md')),
    'utf8',
  );
  expect(text).toContain('group: Backends');
  expect(text).toContain('](backend-webgpu.md#limits)');
  expect(text).toMatch(/\]\(https:\/\/[^)]+\/blob\/main\/tools\/release\/README\.md#binaries\)/);
  expect(readFileSync(front, 'utf8')).toContain('](quick-starts/op-in-node.md)');
});
