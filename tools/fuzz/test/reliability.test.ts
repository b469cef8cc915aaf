import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const docs = new URL('../../../docs/', import.meta.url);

it('every test that docs/reliability.md names is there', () => {
  const page = readFileSync(new URL('reliability.md', docs), 'utf8');
  const rows = [...page.matchAll(/^\|.*\]\((?<file>[^)]+)\) \*(?<name>.+)\* \|/gm)].map(({ groups }) => groups);
  expect(rows.length).toBeGreaterThan(60);
  for (const { file = '', name = '' } of rows as Record<string, string>[]) {
    expect(readFileSync(fileURLToPath(new URL(file, docs)), 'utf8'), `${file} has no '${name}'`).toContain(name);
  }
});
