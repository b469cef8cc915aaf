import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { renderReport } from '@lazy-attention/analysis/report';
import type { Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { blankCanvases, inBrowser, useBrowser, walk } from './browser.ts';
import { fixtureReport } from './fixture.ts';
import { useBackend } from './helpers.ts';

const backendOf = useBackend();
const open = useBrowser();
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let report: string;

beforeAll(async () => {
  const data = await fixtureReport(backendOf(), [0, 1]);
  // A second scenario of one arm that was never measured: what is missing must not break the page.
  const other = data.runs.filter(({ kind, seed }) => kind === 'lazy' && seed === 0);
  const unmeasured = other.map((run) => ({ ...run, scenario: 'pico, context 96', attention: null, final: null }));
  report = renderReport({ ...data, runs: [...data.runs, ...unmeasured] });
});

/** Moves the mouse over a place of the first chart that fits. */
async function point(page: Page, chart: string, x: number, y: number): Promise<void> {
  const element = page.locator(chart).first();
  await element.evaluate((of) => of.scrollIntoView({ block: 'center' }));
  await page.waitForSelector(`${chart} canvas`);
  const box = await element.boundingBox();
  await page.mouse.move((box?.x ?? 0) + x, (box?.y ?? 0) + y, { steps: 3 });
}

inBrowser('the report', () => {
  for (const width of [360, 1440]) {
    for (const dark of [false, true]) {
      test(`${width} pixels, ${dark ? 'dark' : 'light'}: every chart is painted, nothing overflows, axe finds nothing`, async () => {
        const { page, complaints } = await open(report, { width, height: 900, dark });
        await page.$$eval('details.group', (all) => {
          for (const details of all) (details as HTMLDetailsElement).open = true;
        });
        await walk(page);
        const charts = await page.$$eval('[data-chart]', (elements) =>
          elements
            .filter((element) => (element as HTMLElement).offsetWidth > 0)
            .map((element) => ({
              id: (element as HTMLElement).dataset.chart,
              painted: element.querySelector('canvas') !== null,
            })),
        );
        expect(charts.length).toBeGreaterThan(25);
        expect(charts.filter(({ painted }) => !painted)).toEqual([]);
        expect(await blankCanvases(page)).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
        await page.$$eval('details', (all) => {
          for (const details of all) (details as HTMLDetailsElement).open = true;
        });
        await page.evaluate(axe);
        const violations = await page.evaluate(async () => {
          const { violations } = await (
            globalThis as unknown as {
              axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
            }
          ).axe.run();
          return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
        });
        expect(violations).toEqual([]);
        expect(complaints).toEqual([]);
        await page.close();
      });
    }
  }

  test('maps are large enough to be read, and a narrow page is no longer than ten screens', async () => {
    const data = await fixtureReport(backendOf(), [0]);
    for (const [width, height] of [
      [360, 740],
      [1440, 900],
    ]) {
      const { page } = await open(renderReport(data), { width, height });
      await walk(page);
      const maps = await page.$$eval('[id$="-maps"] figure:not([hidden]) [data-chart]', (all) =>
        all.map((element) => (element as HTMLElement).offsetWidth),
      );
      expect(maps.length).toBe(5);
      expect(Math.min(...maps)).toBeGreaterThanOrEqual(width === 360 ? 240 : 280);
      expect(await page.evaluate(() => document.documentElement.scrollHeight / innerHeight)).toBeLessThanOrEqual(10);
      await page.close();
    }
  });

  test('words of the charts’ code among the tokens, and markup in every text of a run, are only shown', async () => {
    const data = await fixtureReport(backendOf(), [0]);
    const words = ['fn:map', 'fn:x', 'inherit', 'var(--x)', '__proto__', 'constructor', '<img src=x onerror=hit()>'];
    const attack = '</script><script>hit()</script><img src=x onerror=hit()>"\' onfocus=hit() autofocus x="';
    const runs = data.runs.slice(0, 2).map((run, n) => ({
      ...run,
      ...{ scenario: attack, arm: `${attack}${n}`, kind: '__proto__', name: attack, command: attack, sample: attack },
      mapTokens: run.mapTokens.map((token, i) => words[i] ?? token),
    }));
    const attacked = { ...data, runs, title: attack, command: attack, notes: [attack] };
    const { page, complaints } = await open(renderReport({ ...attacked, environment: [[attack, attack]] }), {
      width: 1000,
      height: 900,
    });
    await walk(page);
    expect(await blankCanvases(page)).toEqual([]);
    expect(await page.$$eval('img', (images) => images.length)).toBe(0);
    await point(page, '[id$="-maps"] figure:not([hidden]) [data-chart]', 40, 20);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('a script that got into the page would not run', async () => {
    const { page } = await open(report.replace('<footer>', '<footer><script>document.title = "hit"</script>'), {
      width: 1000,
      height: 900,
    });
    expect(await page.title()).not.toBe('hit');
    await page.evaluate(() => {
      document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="document.title = \'hit\'">');
    });
    await page.waitForTimeout(100);
    expect(await page.title()).not.toBe('hit');
    await page.close();
  });

  test('tooltips name what they show, and a curve is zoomed past its fall', async () => {
    const { page, complaints } = await open(report, { width: 1440, height: 900 });
    const chart = page.locator('[data-chart$="-training-loss"]').first();
    await point(page, '[data-chart$="-training-loss"]', 300, 120);
    const tooltip = page.locator('[data-chart$="-training-loss"] > div').last();
    await expect.poll(() => tooltip.innerText()).toMatch(/^step \d+\n.*Softmax: \d\.\d+ nats per token/);
    const button = page.locator('[data-zoom$="-training-loss"]').first();
    const before = await chart.screenshot();
    await button.focus();
    await page.keyboard.press('Enter');
    expect(await button.getAttribute('aria-pressed')).toBe('true');
    await expect.poll(async () => (await chart.screenshot()).equals(before)).toBe(false);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('by keyboard: skip link, theme, choice of head, table, download', async () => {
    const { page, complaints } = await open(report, { width: 1000, height: 900 });
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the figures');

    await page.focus('#theme');
    await page.keyboard.press('Enter');
    expect(await page.getAttribute('html', 'data-theme')).toBe('dark');

    const select = page.locator('select[data-group]');
    const shown = () =>
      page.$$eval('[id$="-maps"] figure:not([hidden]) .chart', (of) => of.map((x) => (x as HTMLElement).dataset.chart));
    const before = await shown();
    await select.focus();
    await page.keyboard.press('ArrowDown');
    const after = await shown();
    expect(before).toHaveLength(5);
    expect(after).toHaveLength(5);
    expect(after).not.toEqual(before);

    const details = page.locator('details').first();
    await details.locator('summary').focus();
    await page.keyboard.press('Enter');
    expect(await details.getAttribute('open')).not.toBeNull();

    for (const button of [
      page.locator('[data-csv$="-training-loss"]').first(),
      page.locator('[id$="-maps"] figure:not([hidden]) [data-csv]').first(),
    ]) {
      await button.focus();
      const [file] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
      expect(file.suggestedFilename()).toMatch(/^[a-z0-9-]+\.csv$/);
      const rows = readFileSync(await file.path(), 'utf8')
        .trim()
        .split('\n');
      expect(rows.length).toBeGreaterThan(5);
      expect(new Set(rows.map((row) => row.split(',').length)).size).toBe(1);
    }
    expect(complaints).toEqual([]);
    await page.close();
  });
});
