import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { keep, known } from '../lib/cross/kept.mjs';
import { nodeFor } from '../lib/cross/try.mjs';
import { installsTable } from '../lib/installs.mjs';
import { placed } from '../lib/tables.mjs';

it('a table comes where its place is, and nothing else changes', () => {
  const text = 'a\n<!-- made x -->\nold\n<!-- end -->\nb\n<!-- made y -->\n<!-- end -->\n';
  expect(placed(text, 'x', '| $& |')).toBe(
    'a\n<!-- made x -->\n| $& |\n<!-- end -->\nb\n<!-- made y -->\n<!-- end -->\n',
  );
  expect(() => placed(text, 'z', '')).toThrow("no place for the table 'z'");
});

it('the README has a place for every table', () => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
  for (const name of ['installs', 'binaries', 'bundles', 'runtimes'])
    expect(placed(readme, name, 'x')).not.toBe(readme);
});

it('installations as a table', () => {
  expect(installsTable([{ install: 'a b', seconds: 1.26, packages: 3, bytes: 2_340_000 }]).split('\n')).toEqual([
    '| from the registry on localhost | wall time | packages | size |',
    '|---|---|---|---|',
    '| `npm install a b` | 1.3 s | 3 | 2.3 MB |',
  ]);
});

it('a Node for another platform is the one that a variable names', () => {
  expect(nodeFor('win32-arm64', {})).toBe(null);
  expect(nodeFor('win32-arm64', { NODE_FOR_WIN32_ARM64: 'wine node.exe' })).toEqual(['wine', 'node.exe']);
});

it('what is known of a binary is of its bytes alone, and adds up', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-kept-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'binaries.json');
  keep('a', { commit: 'abc' }, file);
  keep('a', { ok: true, said: 'loads' }, file);
  expect(known('a', file)).toEqual({ commit: 'abc', ok: true, said: 'loads' });
  expect(known('b', file)).toEqual({});
});
