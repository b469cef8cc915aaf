import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { changesBetween, renderPieces } from '@lazy-attention/analysis/report';
import { expect, test } from 'vitest';
import { blankCanvases, inBrowser, useBrowser, walk } from './browser.ts';
import { fixtureReport } from './fixture.ts';
import { useBackend } from './helpers.ts';

const backendOf = useBackend();
const open = useBrowser();

inBrowser('the live page', () => {
  test('takes over what has changed, keeps theme and open tables, and says when it ends', async () => {
    const data = await fixtureReport(backendOf(), [0]);
    const early = data.runs.map((run) => ({ ...run, attention: null, final: null }));
    const first = renderPieces({ ...data, runs: early, live: '/events' }, '1');
    const streams: ServerResponse[] = [];
    let pages = 0;
    const server = createServer((request, response) => {
      if (request.url === '/events?from=1') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n');
        streams.push(response);
      } else {
        pages++;
        response.writeHead(200, { 'content-type': 'text/html' }).end(first.page);
      }
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const { page, complaints } = await open('', { width: 1000, height: 900, address });
    expect(await page.textContent('.live')).toContain('Running');
    expect(await page.locator('h4', { hasText: 'Sink rate' }).count()).toBe(0);
    await page.click('#theme');
    await page.locator('summary').first().click();

    const send = (event: string, value: unknown) =>
      streams[0].write(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
    await expect.poll(() => streams.length).toBe(1);
    send('progress', 'Step 240 of 600.');
    await expect.poll(() => page.textContent('.live')).toContain('Running. Step 240 of 600.');
    send('changes', changesBetween(first, renderPieces({ ...data, live: '/events' }, '2')));
    await page.waitForSelector('h4:has-text("Sink rate")');
    await walk(page);
    expect(await blankCanvases(page)).toEqual([]);
    expect(await page.getAttribute('html', 'data-theme')).toBe('dark');
    expect(await page.locator('details').first().getAttribute('open')).not.toBeNull();

    send('end', null);
    streams[0].end();
    await expect.poll(() => page.textContent('.live')).toContain('has ended');
    expect(pages).toBe(1);
    expect(complaints).toEqual([]);
    await page.close();
    server.close();
  });
});
