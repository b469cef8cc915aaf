import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { executablePath, noBrowser } from '../lib/chromium.mjs';
import { root } from '../lib/snippets.mjs';
import { follow, stepsOf, stories } from '../lib/stories.mjs';

// Inside the workspace, so that packages are found by name; the release's rehearsal installs them.
const generated = fileURLToPath(new URL('../build/quick-starts/', import.meta.url));
const python = process.env.LAZY_ATTENTION_PYTHON ?? 'python3';

/** npm finds what it is asked to install in the workspace, or fails; npx and python3 run what is there. */
const STUBS = {
  npm: `#!/bin/sh
[ "$1" = install ] || exit 1
shift
for word; do
  case "$word" in
    -*) ;;
    *) [ -d '${root}/node_modules/'"\${word%@[0-9]*}" ] || { echo "$word is not in the workspace" >&2; exit 1; } ;;
  esac
done
`,
  npx: '#!/bin/sh\nexec "$@"\n',
  python3: `#!/bin/sh\nexec '${python}' "$@"\n`,
};

const lacks = (name) => {
  const { status } = spawnSync(python, ['-c', `import ${name}, safetensors`]);
  return status === 0 ? null : `${python} has no ${name} and safetensors; LAZY_ATTENTION_PYTHON names another`;
};

async function visit(url, selector, prints) {
  if (noBrowser !== '') return null;
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
  });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(url);
    const done = `document.querySelector('${selector}').textContent.includes('${prints.at(-1)}')`;
    await page.waitForFunction(done, null, { timeout: 100_000 }).catch((error) => errors.push(String(error)));
    expect(errors).toEqual([]);
    return await page.textContent(selector);
  } finally {
    await browser.close();
  }
}

describe('docs/quick-starts', () => {
  it('are those that the docs name', () => {
    const names = ['from-pytorch', 'op-in-browser', 'op-in-node', 'own-attention', 'own-model', 'train'];
    expect(stories().map(({ name }) => name)).toEqual(names);
  });

  it.for(stories())('$name does what it says', { timeout: 600_000 }, async (story, context) => {
    if (process.platform === 'win32') context.skip('its commands are those of a POSIX shell');
    const folder = join(generated, story.name);
    rmSync(folder, { recursive: true, force: true });
    const bin = join(folder, 'bin');
    mkdirSync(bin, { recursive: true });
    for (const [name, code] of Object.entries(STUBS)) writeFileSync(join(bin, name), code, { mode: 0o755 });
    const path = [bin, join(root, 'node_modules/.bin'), process.env.PATH].join(':');
    // BASH_ENV would run somebody's start-up file first.
    const env = { ...process.env, BASH_ENV: '', PATH: path };
    const reason = await follow(story, { folder, env, lacks, visit });
    if (reason !== null) context.skip(reason);
    if (noBrowser !== '' && story.steps.some(({ serves }) => serves !== undefined)) context.skip(noBrowser);
  });
});

describe('a page that tells what to do', () => {
  it('is read in order', () => {
    const text = [
      '```sh\nnpm install a\n```',
      '<!-- file: a.mjs -->\n```js\n1;\n```',
      '<!-- serves: #out -->\n```sh\nnode a.mjs\n```',
      '<!-- output -->\n```\none\ntwo\n```',
    ].join('\n\n');
    expect(stepsOf('x.md', text)).toEqual([
      { run: 'npm install a\n', prints: [] },
      { write: 'a.mjs', code: '1;\n' },
      { run: 'node a.mjs\n', serves: '#out', prints: ['one', 'two'] },
    ]);
  });

  it('may not show code that nobody runs', () => {
    expect(() => stepsOf('x.md', '```js\n1;\n```\n')).toThrow(
      'x.md: a block of js is no file, no command and no output',
    );
  });

  it('fails where a command does, or prints something else', async () => {
    const story = (steps) => follow({ file: 'x.md', steps }, { folder: generated, env: process.env });
    mkdirSync(generated, { recursive: true });
    await expect(story([{ run: 'exit 3', prints: [] }])).rejects.toThrow('x.md: exit 3');
    await expect(story([{ run: 'echo one', prints: ['two'] }])).rejects.toThrow("does not print 'two'");
    expect(await story([{ run: 'echo one; echo two', prints: ['one', 'two'] }])).toBe(null);
  });
});
