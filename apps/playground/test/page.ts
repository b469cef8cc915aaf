import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Download, type Page } from 'playwright-core';
import { type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe } from 'vitest';
import { DEFAULTS, type Settings } from '../src/engine/settings.ts';

/** Debian's place for Chromium; LAZY_ATTENTION_CHROMIUM names another. */
const executablePath = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';

/** The app's folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Why the page cannot be tested here, or null. */
const noBrowser: string | null = !existsSync(executablePath)
  ? `no ${executablePath}; LAZY_ATTENTION_CHROMIUM names another`
  : existsSync(join(root, 'dist/index.html'))
    ? null
    : 'the page is not built';

/** Where models for tests are, by the rules of the other packages. */
export const models: string = process.env.LAZY_ATTENTION_MODELS ?? join(root, '../../../shared/models');

/** Small enough for a GPU that is a CPU, and a learning rate at which rounding does not grow from step to step. */
export const SMALL: Settings = { ...DEFAULTS, context: 16, batch: 2, steps: 50, learningRate: 3e-3 };

/** The built page under a path of its own, as a host would serve it. */
async function serve(): Promise<{ address: string; close(): Promise<void> }> {
  const server: PreviewServer = await preview({
    root,
    configFile: false,
    logLevel: 'error',
    base: '/somewhere/else/',
    preview: { port: 0, host: '127.0.0.1' },
    build: { outDir: 'dist' },
  });
  const address = server.httpServer.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return { address: `http://127.0.0.1:${port}/somewhere/else/`, close: () => server.close() };
}

const SOFTWARE_GPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** Chromium, with a software WebGPU adapter or without WebGPU. */
export function launch(webgpu = true): Promise<Browser> {
  const gpu = webgpu ? SOFTWARE_GPU : ['--disable-features=WebGPU,WebGPUService', '--disable-blink-features=WebGPU'];
  return chromium.launch({ executablePath, args: ['--no-sandbox', ...gpu] });
}

/** What the tests of a file share: the served page, and a browser. */
export interface Shared {
  /** Of the page, with a hash where one is given. */
  at(hash?: string): string;
  browser(): Browser;
}

/** Tests of the built page; without a browser they are skipped, with the reason in their name. */
export function inBrowser(name: string, tests: (shared: Shared) => void): void {
  describe.skipIf(noBrowser !== null)(`${name}${noBrowser === null ? '' : `: ${noBrowser}`}`, () => {
    let server: Awaited<ReturnType<typeof serve>>;
    let browser: Browser;
    beforeAll(async () => {
      server = await serve();
      browser = await launch();
    });
    afterAll(async () => {
      await browser?.close();
      await server?.close();
    });
    tests({ at: (hash = '') => server.address + hash, browser: () => browser });
  });
}

/** A page, and what it complained of: its console's errors, uncaught errors, and requests beyond its own files. */
export async function openPage(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  // A busy machine is no reason to fail.
  context.setDefaultTimeout(100_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`error: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  page.on('request', (request) => {
    const origin = new URL(address).origin;
    if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url()))
      complaints.push(`request: ${request.url()}`);
  });
  await page.goto(address);
  await page.waitForSelector('[data-side="1"] canvas');
  return { page, complaints };
}

/** Goes to the last frame of the recording. */
export async function toTheEnd(page: Page): Promise<void> {
  await page.locator('.scrubber input').waitFor();
  await page.waitForFunction(() => Number((document.querySelector('.scrubber input') as HTMLInputElement).max) > 5);
  await page.locator('.scrubber input').evaluate((input: HTMLInputElement) => {
    input.value = input.max;
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
  await page.waitForTimeout(100);
}

/** Moves a slider. */
export function slide(page: Page, selector: string, value: number): Promise<void> {
  return page.locator(selector).evaluate((input: HTMLInputElement, to) => {
    input.value = String(to);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }, value);
}

/** Fills in what is trained. */
export async function choose(page: Page, settings: Settings): Promise<void> {
  const controls = page.locator('#controls');
  if ((await controls.getAttribute('open')) === null) await controls.locator('summary').click();
  for (const side of [0, 1] as const) await page.getByTestId(`kind-${side}`).selectOption(settings.kinds[side]);
  await page.locator('label:has(> span:text-is("learns")) select').selectOption(settings.task);
  await page.locator('label:has(> span:text-is("size")) select').selectOption(settings.preset);
  await page.getByLabel('learning rate').fill(String(settings.learningRate));
  for (const name of ['context', 'batch', 'steps', 'seed'] as const) {
    await page.getByLabel(name, { exact: true }).fill(String(settings[name]));
    await page.getByLabel(name, { exact: true }).blur();
  }
  if (settings.task === 'text') await page.getByLabel('text to learn from').fill(settings.text);
}

/** Presses Train, and waits until so many steps have been taken. */
export async function train(page: Page, step: number): Promise<void> {
  await page.getByTestId('train').click();
  // From the click on until the new training is there, it is starting; what is seen until then is of the one before.
  await page.waitForSelector('.stage:not([data-training="starting"]):not([data-training="none"])');
  await reached(page, step);
}

/** Waits until so many steps have been taken. */
export async function reached(page: Page, step: number): Promise<void> {
  await page.waitForFunction((wanted) => {
    const words = document.querySelector('[data-testid="device"]')?.textContent ?? '';
    return Number(/([\d,]+) of/.exec(words)?.[1]?.replace(',', '')) >= wanted;
  }, step);
}

/** The step that is shown. */
export function stepOf(page: Page): Promise<number> {
  return page.locator('.stage').evaluate((stage: HTMLElement) => Number(stage.dataset.step));
}

/** What a click on a button of that name downloads. */
export async function downloaded(page: Page, name: string): Promise<{ file: Download; bytes: Buffer }> {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name, exact: true }).click(),
  ]);
  return { file, bytes: readFileSync(await file.path()) };
}

/** The losses that the page has, left and right, from the file that it gives. */
export async function lossesOf(page: Page): Promise<[number[], number[]]> {
  const { bytes } = await downloaded(page, 'losses');
  const lines = bytes.toString().trim().split('\n').slice(1);
  const column = (of: 1 | 2) => lines.map((line) => Number(line.split(',')[of]));
  return [column(1), column(2)];
}
