import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { attentionKind, ConfigError } from '../src/index.ts';
import { loadAttention } from '../src/node.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lazy-attention-load-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const write = async (name: string, text: string) => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};

it.each([
  ['from-js.mjs', `export default { name: 'from-js', attend: (ops, { q }) => q };`],
  [
    'from-ts.ts',
    `const name: string = 'from-ts';\nexport default { name, attend: (_ops: unknown, { q }: { q: unknown }) => q };`,
  ],
  [
    'defined.mjs',
    `import { defineAttention } from '${new URL('../src/index.ts', import.meta.url).pathname}';\nexport default defineAttention({ name: 'defined', attend: (ops, { q }) => q });`,
  ],
])('%s defines what it exports', async (file, text) => {
  const kind = await loadAttention(await write(file, text));
  expect(kind.name).toBe(file.split('.')[0]);
  expect(attentionKind(kind.name)).toBe(kind);
});

it('names the file in every error', async () => {
  const cases: [string, RegExp][] = [
    [await write('none.mjs', 'export const x = 1;'), /none\.mjs: has no attention as default export/],
    [await write('broken.mjs', 'export default {'), /broken\.mjs: cannot be run: /],
    [
      await write('unnamed.mjs', 'export default { attend() {} };'),
      /unnamed\.mjs: defineAttention: name is 'undefined'/,
    ],
    [await write('x.json', '{}'), /x\.json: expected a file of JavaScript or TypeScript/],
    [join(folder, 'missing.ts'), /missing\.ts: there is no such file/],
  ];
  for (const [path, message] of cases) {
    const attempt = loadAttention(path);
    await expect(attempt).rejects.toThrow(ConfigError);
    await expect(attempt).rejects.toThrow(message);
  }
});
