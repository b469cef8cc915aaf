import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { probeBackends } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shortened } from '../lib/short.mjs';
import { marked, root, snippets } from '../lib/snippets.mjs';

// Inside the workspace, so that packages are found by name.
const generated = fileURLToPath(new URL('../build/readme/', import.meta.url));
const found = snippets();
const modules = found.filter(({ language }) => language === 'ts');
const scripts = found.filter(({ language }) => language === 'sh');
const fileOf = ({ file, name }) => join(generated, `${file.replaceAll(/[^\w]+/g, '-')}-${name}.ts`);

let folder;
beforeAll(() => {
  rmSync(generated, { recursive: true, force: true });
  mkdirSync(generated, { recursive: true });
  for (const snippet of modules) writeFileSync(fileOf(snippet), `${snippet.code}\nexport {};\n`);
  folder = mkdtempSync(join(tmpdir(), 'lazy-attention-readme-'));
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(root);
  rmSync(folder, { recursive: true, force: true });
});

describe('README code', () => {
  it('covers the op alone, the layer alone, and training from a file', () => {
    const names = found.map(({ file, name }) => `${file}#${name}`);
    expect(names).toEqual(expect.arrayContaining(['README.md#op', 'packages/nn/README.md#layer', 'README.md#train']));
  });

  it('type-checks', () => {
    const config = join(generated, 'tsconfig.json');
    const options = {
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: { noEmit: true, composite: false, incremental: false, noUnusedLocals: false, types: ['node'] },
      include: ['*.ts'],
    };
    writeFileSync(config, JSON.stringify(options));
    const result = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config], {
      encoding: 'utf8',
    });
    expect(result.stdout).toBe('');
  });

  it.for(modules.map((snippet) => [`${snippet.file}#${snippet.name}`, snippet]))(
    '%s runs',
    async ([_, snippet], context) => {
      if (snippet.on !== undefined) {
        const { available, reason } = (await probeBackends()).find(({ name }) => name === snippet.on);
        if (!available) context.skip(`${snippet.on}: ${reason}`);
      }
      await import(/* @vite-ignore */ pathToFileURL(fileOf(snippet)).href);
    },
  );

  it.each(scripts.map((snippet) => [`${snippet.file}#${snippet.name}`, snippet]))('%s runs', (_, { code, short }) => {
    // As printed, but in an empty folder: npx finds there what npm has linked in the repository.
    const bin = join(folder, 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'npx'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
    const path = [bin, join(root, 'node_modules/.bin'), process.env.PATH].join(':');
    // BASH_ENV would run somebody's start-up file first.
    const env = { ...process.env, BASH_ENV: '', PATH: path };
    const result = spawnSync('bash', ['-euc', short ? shortened(code, folder) : code], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    expect(result.status, result.stderr).toBe(0);
  });
});

it('finds marked blocks only', () => {
  const text =
    '<!-- test: a -->\n```ts\n1;\n```\n```ts\n2;\n```\n<!-- test: b, on cpu -->\n```sh\n3\n```\n<!-- test: c, short -->\n```sh\n4\n```\n';
  expect(marked('x', text)).toEqual([
    { file: 'x', name: 'a', language: 'ts', code: '1;\n' },
    { file: 'x', name: 'b', on: 'cpu', language: 'sh', code: '3\n' },
    { file: 'x', name: 'c', short: true, language: 'sh', code: '4\n' },
  ]);
});
