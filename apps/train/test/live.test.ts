import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { expect, it } from 'vitest';
import { start, TINY, temporary } from './helpers.ts';

it('train --open serves a page that follows the run, and leaves the report in its folder', async () => {
  const root = temporary();
  const opened = join(root, 'opened');
  for (const name of ['xdg-open', 'open']) {
    writeFileSync(join(root, name), `#!/bin/sh\necho "$1" > ${opened}\n`);
    chmodSync(join(root, name), 0o755);
  }
  const out = join(root, 'run');
  const { child, done } = start(['train', ...TINY, '--steps', '60', '--out', out, '--open', '--json'], {
    PATH: `${root}${delimiter}${process.env.PATH}`,
  });
  let said = '';
  const address = await new Promise<string>((resolve, reject) => {
    child.on('close', () => reject(new Error(said)));
    child.stderr?.on('data', (chunk) => {
      said += chunk;
      const found = /Live page: (http:\S+)/.exec(said);
      if (found !== null) resolve(found[1]);
    });
  });
  expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);

  const events = await fetch(`${address}events`);
  expect(events.headers.get('content-type')).toBe('text/event-stream');
  const follow = (async () => {
    let stream = '';
    let page = '';
    for await (const chunk of events.body ?? []) {
      stream += new TextDecoder().decode(chunk);
      if (stream.includes('event: end')) break;
      if (stream.includes('event: update')) page = await (await fetch(address)).text();
    }
    return { stream, page };
  })();
  const first = await (await fetch(address)).text();
  expect(first).toContain('data-live="/events"');
  expect((await fetch(`${address}elsewhere`)).status).toBe(404);

  expect((await done).code).toBe(0);
  const { stream, page } = await follow;
  expect(stream).toContain('event: end');
  expect(page).not.toContain('data-live');
  expect(page).toContain('Sparsity by layer and head');
  expect(readFileSync(join(out, 'report.html'), 'utf8')).toBe(page);
  expect(existsSync(opened) && readFileSync(opened, 'utf8').trim()).toBe(address);
});
