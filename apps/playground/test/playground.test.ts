import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend } from '@lazy-attention/core';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { budget, FIRST_VIEW, longestTask, WHOLE_PAGE, watchTasks } from '../scripts/budget.mjs';
import { trainingData } from '../src/engine/dataset.ts';
import { newSession, stepBoth } from '../src/engine/session.ts';
import { DEFAULTS, type Settings } from '../src/engine/settings.ts';
import { decodeRecord } from '../src/record/format.ts';
import { launch, models, noBrowser, openPage, root, serve, toTheEnd } from './page.ts';

/** Small enough for a GPU that is a CPU, and a learning rate at which rounding does not grow from step to step. */
const SMALL: Settings = { ...DEFAULTS, context: 16, batch: 2, steps: 50, learningRate: 3e-3 };

test('the recorded run ends with a sink on the left and none on the right', () => {
  const { frames } = decodeRecord(gunzipSync(readFileSync(join(root, 'public/record/run.bin.gz'))));
  const [left, right] = frames.at(-1)?.sides ?? [];
  const chosen = left?.heads.reduce((a, b) => (b.firstTokenWeight > a.firstTokenWeight ? b : a));
  const same = right?.heads.find(({ layer, head }) => layer === chosen?.layer && head === chosen.head);
  expect(chosen?.firstTokenWeight).toBeGreaterThan(0.3);
  expect(same?.firstTokenWeight).toBeLessThan(0.05);
});

describe.skipIf(noBrowser !== null)(`the built page in Chromium${noBrowser === null ? '' : `: ${noBrowser}`}`, () => {
  let server: Awaited<ReturnType<typeof serve>>;
  let browser: Browser;
  const at = (hash = '') => server.address + hash;

  beforeAll(async () => {
    server = await serve();
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  test('replays within three seconds of a cold load, and plays by itself', async () => {
    // The best of three, each with an empty cache: a busy machine is no reason to fail.
    const times: number[] = [];
    for (let n = 0; n < 3 && !times.some((time) => time < 3000); n++) {
      const cold = await openPage(browser, at());
      await cold.page.waitForSelector('[data-side="1"] canvas');
      times.push(await cold.page.evaluate(() => performance.getEntriesByName('replay')[0]?.startTime ?? Number.NaN));
      await cold.page.context().close();
    }
    expect(Math.min(...times)).toBeLessThan(3000);
    const { page, complaints } = await openPage(browser, at());
    await page.waitForSelector('[data-side="1"] canvas');
    const first = await stepOf(page);
    await page.waitForFunction(
      (before) => Number((document.querySelector('.stage') as HTMLElement).dataset.step) > before,
      first,
    );
    await toTheEnd(page);
    expect(await stepOf(page)).toBe(DEFAULTS.steps);
    expect(await numberOf(page, 'first-0')).toBeGreaterThan(0.3);
    expect(await numberOf(page, 'first-1')).toBeLessThan(0.05);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('trains 50 steps of both kinds with the losses of the reference', async () => {
    const { page, complaints } = await openPage(browser, at());
    await page.waitForSelector('[data-side="1"] canvas');
    await choose(page, SMALL);
    await watchTasks(page);
    await page.getByTestId('train').click();
    await page.waitForFunction(
      () => /50 of 50/.test(document.querySelector('[data-testid="device"]')?.textContent ?? ''),
      null,
      { timeout: 120_000 },
    );
    expect(await page.getByTestId('device').textContent()).toMatch(/^webgpu: .*swiftshader.* ms a step/i);
    const here = await lossesOf(page);
    const expected = await referenceLosses(SMALL);
    for (const side of [0, 1] as const) {
      expect(here[side]).toHaveLength(50);
      for (const [i, loss] of here[side].entries())
        expect(Math.abs(loss - (expected[side][i] as number))).toBeLessThan(1e-3);
    }
    // The goal is 50 ms, which holds on two quiet cores; a page that trained on its own thread would hold it for seconds.
    expect(await longestTask(page)).toBeLessThan(1000);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('weighs what it may', () => {
    const { first, whole } = budget(join(root, 'dist'));
    expect(first).toBeGreaterThan(100_000);
    expect(first).toBeLessThan(FIRST_VIEW);
    expect(whole).toBeLessThan(WHOLE_PAGE);
  });

  test('a tau slider moves the map; text is looked at, continued, and restored from a link', async () => {
    const { page, complaints } = await openPage(browser, at());
    await toTheEnd(page);
    const before = await pixels(page, 1);
    await slide(page, '#tau input', 0);
    await page.waitForFunction(() => document.querySelector('[data-testid="tau"]')?.textContent === '0.00');
    await expect.poll(() => pixels(page, 1), { timeout: 60_000 }).not.toBe(before);

    await page.getByTestId('text').fill('callmeishmael');
    await page.getByTestId('look').click();
    await page.waitForSelector('.next li');
    expect(await page.locator('[data-side="0"] .thumbnails button').count()).toBe(4);
    await page.getByRole('button', { name: 'layer 1, head 0' }).first().click();
    await page.getByLabel('each row made to sum to one').check();
    await page.getByRole('button', { name: 'Write on, left' }).click();
    await page.waitForFunction(
      () => (document.querySelector('[data-testid="written"]')?.textContent ?? '').length > 30,
    );
    await page.getByRole('button', { name: 'Dark' }).click();
    await page.getByTestId('share').click();
    const link = page.url();
    expect(link).toContain('#');

    await page.context().close();

    const second = await openPage(browser, link);
    await second.page.waitForSelector('.next li', { timeout: 120_000 });
    expect(await second.page.getByTestId('text').inputValue()).toBe('callmeishmael');
    expect(await second.page.locator('html').getAttribute('data-theme')).toBe('dark');
    expect(await second.page.getByLabel('each row made to sum to one').isChecked()).toBe(true);
    expect(await second.page.locator('.caption').textContent()).toContain('Head 1.0');
    expect([...complaints, ...second.complaints]).toEqual([]);
    await second.page.context().close();
  });

  test('opens a run folder; says what is wrong with a damaged one, and lives on', async () => {
    const folder = await runFolder();
    const { page, complaints } = await openPage(browser, at());
    await toTheEnd(page);
    await page.getByTestId('folder').setInputFiles(folder);
    await page.getByTestId('opened').waitFor({ timeout: 60_000 });
    expect(await page.getByTestId('opened').textContent()).toContain('lazy, 1 layers of 2 heads');
    const weights = join(folder, 'checkpoints/step-00000001/model.safetensors');
    truncateSync(weights, 1000);
    await page.getByTestId('folder').setInputFiles(folder);
    await page.getByTestId('problem').waitFor();
    expect(await page.getByTestId('problem').textContent()).toMatch(/model\.safetensors: .*(truncated|damaged)/);
    rmSync(folder, { recursive: true });
    await toTheEnd(page);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  const stories = join(models, 'stories260K');
  test.skipIf(!existsSync(stories))('opens stories260K as a Hugging Face folder', async () => {
    const { page, complaints } = await openPage(browser, at());
    await toTheEnd(page);
    await page.getByTestId('folder').setInputFiles(stories);
    await page.getByTestId('opened').waitFor({ timeout: 60_000 });
    expect(await page.getByTestId('opened').textContent()).toMatch(/5 layers of 8 heads, 0\.26 M/);
    await page.waitForFunction(() => document.querySelectorAll('[data-side="0"] .thumbnails button').length === 40);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  const gguf = join(models, 'SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf');
  test.skipIf(!existsSync(gguf))(
    'refuses a GGUF that is too large for this adapter, in a sentence on memory',
    async () => {
      const { page, complaints } = await openPage(browser, at());
      await toTheEnd(page);
      await page.getByTestId('file').setInputFiles(gguf);
      await page.getByTestId('problem').waitFor({ timeout: 60_000 });
      expect(await page.getByTestId('problem').textContent()).toMatch(
        /needs 513 MB of memory .* may use 256 MB here.* lazy-attention inspect/,
      );
      await toTheEnd(page);
      expect(complaints).toEqual([]);
      await page.context().close();
    },
  );

  test('a lost GPU is told in a sentence, and training starts again', async () => {
    const own = await launch();
    const { page } = await openPage(own, at());
    await page.waitForSelector('[data-side="1"] canvas');
    await choose(page, { ...SMALL, steps: 5000 });
    await page.getByTestId('train').click();
    await page.waitForFunction(
      () => /[1-9]\d* of 5,000/.test(document.querySelector('[data-testid="device"]')?.textContent ?? ''),
      null,
      { timeout: 60_000 },
    );
    const session = await own.newBrowserCDPSession();
    await session.send('Browser.crashGpuProcess' as never).catch(() => {});
    await page.getByTestId('problem').waitFor({ timeout: 60_000 });
    expect(await page.getByTestId('problem').textContent()).toContain('Press Train');
    await page.getByTestId('train').click();
    await page.waitForFunction(
      () => /[1-9]\d* of 5,000/.test(document.querySelector('[data-testid="device"]')?.textContent ?? ''),
      null,
      { timeout: 60_000 },
    );
    await own.close();
  });

  test('without WebGPU it trains on WebAssembly and says why', async () => {
    const own = await launch(false);
    const { page, complaints } = await openPage(own, at());
    await page.waitForSelector('[data-side="1"] canvas');
    await choose(page, { ...SMALL, steps: 3 });
    await page.getByTestId('train').click();
    await page.waitForFunction(
      () => /3 of 3/.test(document.querySelector('[data-testid="device"]')?.textContent ?? ''),
      null,
      { timeout: 120_000 },
    );
    expect(await page.getByTestId('device').textContent()).toMatch(/^tfjs: .*wasm.*WebGPU/s);
    expect(complaints).toEqual([]);
    await own.close();
  });

  test.each([
    [360, 'light'],
    [360, 'dark'],
    [1440, 'light'],
    [1440, 'dark'],
  ] as const)('is accessible and fits at %i, %s', async (width, colorScheme) => {
    const { page, complaints } = await openPage(browser, at(), {
      viewport: { width, height: 900 },
      colorScheme,
      reducedMotion: 'reduce',
    });
    await toTheEnd(page);
    await page.locator('#controls summary').click();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    // The page's own policy lets no script in by a tag; evaluate is not bound by it.
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120))}`)).toEqual([]);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('the tour moves the controls itself', async () => {
    const { page } = await openPage(browser, at(), { reducedMotion: 'reduce' });
    await toTheEnd(page);
    await page.getByRole('button', { name: 'Tour' }).click();
    expect(await stepOf(page)).toBe(0);
    await page.getByRole('button', { name: 'Next' }).click();
    expect(await stepOf(page)).toBe(DEFAULTS.steps);
    await page.keyboard.press('Escape');
    expect(await page.getByRole('dialog').count()).toBe(0);
    await page.context().close();
  });
});

const stepOf = (page: Page) => page.locator('.stage').evaluate((stage: HTMLElement) => Number(stage.dataset.step));
const numberOf = async (page: Page, id: string) => Number(await page.getByTestId(id).textContent());
const pixels = (page: Page, side: 0 | 1) =>
  page.locator(`[data-side="${side}"] > .map canvas`).evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());

function slide(page: Page, selector: string, value: number): Promise<void> {
  return page.locator(selector).evaluate((input: HTMLInputElement, to) => {
    input.value = String(to);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }, value);
}

/** Fills in what is trained. */
async function choose(page: Page, settings: Settings): Promise<void> {
  await page.locator('#controls summary').click();
  await page.getByLabel('learning rate').fill(String(settings.learningRate));
  for (const name of ['context', 'batch', 'steps'] as const) {
    await page.getByLabel(name, { exact: true }).fill(String(settings[name]));
    await page.getByLabel(name, { exact: true }).blur();
  }
}

/** The losses that the page has, from the file that it gives. */
async function lossesOf(page: Page): Promise<[number[], number[]]> {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'losses' }).click(),
  ]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trim()
    .split('\n')
    .slice(1);
  const column = (of: 1 | 2) => lines.map((line) => Number(line.split(',')[of]));
  return [column(1), column(2)];
}

async function referenceLosses(settings: Settings): Promise<[number[], number[]]> {
  const backend = new Backend(await reference.create({}));
  const pairs = JSON.parse(readFileSync(join(root, 'public/record/pairs.json'), 'utf8'));
  const data = await trainingData(settings, { pairs: async () => pairs, book: async () => '' });
  const sides = ([0, 1] as const).map((side) => newSession(backend, settings, side, data));
  const losses: [number[], number[]] = [[], []];
  for (let step = 0; step < settings.steps; step++) {
    const [left, right] = await stepBoth(sides);
    losses[0].push(left as number);
    losses[1].push(right as number);
  }
  return losses;
}

/** A run as `lazy-attention train` writes it, with a tiny model that has taken one step. */
async function runFolder(): Promise<string> {
  const { saveCheckpoint } = await import('@lazy-attention/nn/node');
  const { lazyTransformer } = await import('@lazy-attention/nn');
  const folder = mkdtempSync(join(tmpdir(), 'playground-run-'));
  const backend = new Backend(await reference.create({}));
  const model = lazyTransformer({
    vocabSize: 256,
    hiddenSize: 16,
    numLayers: 1,
    numHeads: 2,
    context: 32,
    attention: 'lazy',
  });
  await saveCheckpoint(join(folder, 'checkpoints'), { model, params: model.init(backend, 0), step: 1 });
  writeFileSync(
    join(folder, 'run.json'),
    JSON.stringify({ data: { tokenizer: { kind: 'bytes', documentSeparator: false } } }),
  );
  return folder;
}
