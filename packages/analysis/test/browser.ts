import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe } from 'vitest';

/** Debian's place for Chromium; LAZY_ATTENTION_CHROMIUM names another. */
const CHROMIUM = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';

/** Why there can be no browser test here, or null. */
const noBrowser = existsSync(CHROMIUM) ? null : `no Chromium at ${CHROMIUM}; set LAZY_ATTENTION_CHROMIUM`;

export interface OpenedPage {
  readonly page: Page;
  /** Errors and warnings of the console, uncaught errors, and every request beyond the file itself. */
  readonly complaints: string[];
}

export interface View {
  readonly width: number;
  readonly height: number;
  readonly dark?: boolean;
  /** Open this instead of a file with the content. */
  readonly address?: string;
}

/** One browser for the tests of a file. */
export function useBrowser(): (content: string, view: View) => Promise<OpenedPage> {
  let browser: Browser;
  let folder: string;
  beforeAll(async () => {
    if (noBrowser !== null) return;
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    folder = mkdtempSync(join(tmpdir(), 'lazy-attention-report-'));
  });
  afterAll(async () => {
    if (noBrowser !== null) return;
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return async (content, { width, height, dark = false, address: served }) => {
    const file = join(folder, 'report.html');
    writeFileSync(file, content);
    const address = served ?? pathToFileURL(file).href;
    const page = await browser.newPage({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
    page.on('request', (request) => {
      if (!request.url().startsWith(address) && !/^(data|blob):/.test(request.url()))
        complaints.push(`request: ${request.url()}`);
    });
    // A busy machine is no reason to fail.
    page.setDefaultTimeout(100_000);
    await page.goto(address);
    return { page, complaints };
  };
}

/** Tests that need Chromium; without it they are skipped, with the reason in their name. */
export function inBrowser(name: string, tests: () => void): void {
  describe.skipIf(noBrowser !== null)(`${name} in Chromium${noBrowser === null ? '' : ` (${noBrowser})`}`, tests);
}

/** Goes to every chart that is shown, one by one, and waits until it is painted whole: charts are drawn when they come near. */
export async function walk(page: Page): Promise<void> {
  for (const element of await page.$$('[data-chart]')) {
    // Neither hidden by a choice nor folded away.
    if (!(await element.evaluate((of) => of.checkVisibility()))) continue;
    // Narrow pages have rows that scroll sideways.
    await element.evaluate((of) => of.scrollIntoView({ block: 'center', inline: 'center' }));
    await page.waitForFunction((of) => (of as HTMLElement).dataset.drawn !== undefined, element);
  }
}

/** Charts whose canvas holds one colour only. */
export function blankCanvases(page: Page): Promise<(string | undefined)[]> {
  return page.$$eval('[data-chart] canvas', (canvases) =>
    (canvases as HTMLCanvasElement[])
      .filter((canvas) => {
        const { data } = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height) ?? { data: [] };
        for (let i = 4; i < data.length; i++) if (data[i] !== data[i % 4]) return false;
        return true;
      })
      .map((canvas) => canvas.closest<HTMLElement>('[data-chart]')?.dataset.chart),
  );
}
