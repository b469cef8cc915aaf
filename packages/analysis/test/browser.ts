import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';

/** Debian's place for Chromium; LAZY_ATTENTION_CHROMIUM names another. */
const CHROMIUM = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';

/** Why there can be no browser test here, or null. */
export const noBrowser = existsSync(CHROMIUM) ? null : `no Chromium at ${CHROMIUM}; set LAZY_ATTENTION_CHROMIUM`;

export interface OpenedPage {
  readonly page: Page;
  /** Errors and warnings of the console, uncaught errors, and every request beyond the file itself. */
  readonly complaints: string[];
}

/** One browser for the tests of a file. */
export function useBrowser(): (
  content: string,
  view: { width: number; height: number; dark?: boolean },
) => Promise<OpenedPage> {
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
  return async (content, { width, height, dark = false }) => {
    const file = join(folder, 'report.html');
    writeFileSync(file, content);
    const address = pathToFileURL(file).href;
    const page = await browser.newPage({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
    page.on('request', (request) => {
      if (request.url() !== address && !/^(data|blob):/.test(request.url()))
        complaints.push(`request: ${request.url()}`);
    });
    await page.goto(address);
    return { page, complaints };
  };
}
