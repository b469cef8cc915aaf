import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { delimiter, join } from 'node:path';
import { createBackend } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { createRun } from '../src/index.ts';
import { createGate } from '../src/live/gate.ts';
import { serveLive } from '../src/live/server.ts';
import { planRun } from '../src/training/plan.ts';
import { disposeSession } from '../src/training/session.ts';
import { train } from '../src/training/train.ts';
import { BACKEND, start, TINY, temporary } from './helpers.ts';

/** What was sent as `event: changes`, in order. */
function changesIn(stream: string): { main?: string; charts: Record<string, unknown> }[] {
  return [...stream.matchAll(/^event: changes\ndata: (.*)$/gm)].map(([, json]) => JSON.parse(json));
}

it('train --open serves a page that follows the run, and leaves the report in its folder', async () => {
  const root = temporary();
  const opened = join(root, 'opened');
  for (const name of ['browser', 'open']) {
    writeFileSync(join(root, name), `#!/bin/sh\necho "$1" > ${opened}\n`);
    chmodSync(join(root, name), 0o755);
  }
  const out = join(root, 'run');
  const { child, done } = start(['train', ...TINY, '--steps', '60', '--out', out, '--open', '--json'], {
    PATH: `${root}${delimiter}${process.env.PATH}`,
    BROWSER: join(root, 'browser'),
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
  const page = await (await fetch(address)).text();
  expect(page).toContain('data-live="/events"');
  const version = /data-version="(\d+)"/.exec(page)?.[1];
  expect((await fetch(`${address}elsewhere`)).status).toBe(404);

  const events = await fetch(`${address}events?from=${version}`);
  expect(events.headers.get('content-type')).toBe('text/event-stream');
  const stream = await events.text();
  expect(await done).toMatchObject({ stderr: expect.stringMatching(/^Training/), code: 0 });
  expect(stream).toContain('event: end');
  const changes = changesIn(stream);
  const last = changes.at(-1);
  expect(last?.main).toContain('Sparsity by layer and head');
  const report = readFileSync(join(out, 'report.html'), 'utf8');
  expect(report).toContain(last?.main);
  expect(report).not.toContain('data-live');
  expect(JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')).attention.maps).toEqual([]);
  expect(existsSync(opened) && readFileSync(opened, 'utf8').trim()).toBe(address);
});

describe('the live page', () => {
  /** A tiny run that is trained in this process while `readers` do what they do; gives how often a page was rendered. */
  async function whileTraining(readers: (address: string, ended: () => boolean) => Promise<void>) {
    const backend = await createBackend(BACKEND);
    const options = { preset: 'pico', context: 16, batch: 2, steps: 40, evalEvery: 10, finalEvalWindows: 2 } as const;
    const { record, dataset } = await planRun(backend, 'moby-dick', { ...options, evalWindows: 2, sampleTokens: 1 });
    const folder = createRun(join(temporary(), 'run'), record);
    const live = await serveLive(folder, record, dataset);
    let ended = false;
    const reading = readers(live.address, () => ended);
    const how = { resume: false, listener: live.listener, mapLength: 8 };
    const outcome = await train(backend, record, folder, dataset, how);
    ended = true;
    live.close();
    await reading.catch(() => {});
    disposeSession(outcome.session);
    await backend.dispose();
    return live.rendered();
  }

  it('is rendered once per evaluation, however many ask for it', async () => {
    let answers = 0;
    const rendered = await whileTraining(async (address, ended) => {
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          while (!ended()) {
            await (await fetch(address)).text();
            answers++;
          }
        }),
      );
    });
    // Four evaluations, and what is there before the first of them.
    expect(rendered).toBeGreaterThan(0);
    expect(rendered).toBeLessThanOrEqual(5);
    expect(answers).toBeGreaterThanOrEqual(0);
  });

  it('shows attention from the first evaluation on, and says that it runs', async () => {
    let stream = '';
    await whileTraining(async (address) => {
      const decoder = new TextDecoder();
      for await (const chunk of (await fetch(`${address}events?from=none`)).body ?? []) stream += decoder.decode(chunk);
    });
    const changes = changesIn(stream);
    expect(changes.length).toBeGreaterThan(1);
    expect(changes.some(({ main }) => main?.includes('Attention maps'))).toBe(true);
    expect(changes.some(({ main }) => /stopped at step/.test(main ?? ''))).toBe(false);
    // Later ones hold only what changed.
    const all = new Set(changes.flatMap(({ charts }) => Object.keys(charts)));
    expect(Object.keys(changes[0].charts).length).toBeLessThan(all.size);
    expect(stream).toMatch(/event: progress\ndata: "Step \d+ of 40, loss \d\.\d+\."/);
  });

  it('answers this machine alone: no other name, no other page, nothing but GET and HEAD', async () => {
    const ask = (address: string, path: string, options: object) =>
      new Promise<number>((resolve, reject) => {
        const { port } = new URL(address);
        const sent = request({ host: '127.0.0.1', port, path, agent: false, ...options }, (response) => {
          response.destroy();
          resolve(response.statusCode ?? 0);
        });
        sent.on('error', reject).end();
      });
    const found: Record<string, number> = {};
    await whileTraining(async (address) => {
      const { port, host } = new URL(address);
      const cases: Record<string, object> = {
        plain: {},
        localhost: { headers: { host: `localhost:${port}` } },
        head: { method: 'HEAD' },
        'own page': { headers: { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' } },
        'another name': { headers: { host: `rebound.example:${port}` } },
        'another port': { headers: { host: '127.0.0.1:1' } },
        'another page': { headers: { host, origin: 'http://evil.example' } },
        'no page': { headers: { host, origin: 'null' } },
        'an image elsewhere': { headers: { host, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' } },
        post: { method: 'POST' },
        delete: { method: 'DELETE' },
      };
      await Promise.all(
        Object.entries(cases).map(async ([name, options]) => {
          found[name] = await ask(address, '/events', options);
        }),
      );
    });
    expect(found).toEqual({
      ...{ plain: 200, localhost: 200, head: 200, 'own page': 200 },
      ...{ 'another name': 421, 'another port': 421, 'another page': 403, 'no page': 403, 'an image elsewhere': 403 },
      ...{ post: 405, delete: 405 },
    });
  });
});

it('the gate lets the first through, and those after it together', () => {
  const openings: (() => void)[] = [];
  const done: number[] = [];
  const gate = createGate((open) => openings.push(open));
  for (const n of [1, 2, 3]) gate.pass(() => done.push(n));
  expect(done).toEqual([1]);
  openings.shift()?.();
  expect(done).toEqual([1, 2, 3]);
  gate.pass(() => done.push(4));
  expect(done).toEqual([1, 2, 3]);
  openings.shift()?.();
  expect(done).toEqual([1, 2, 3, 4]);
  openings.shift()?.();
  expect(openings).toEqual([]);
  gate.pass(() => done.push(5));
  expect(done).toEqual([1, 2, 3, 4, 5]);
});
