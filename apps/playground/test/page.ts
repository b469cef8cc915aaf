import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { type PreviewServer, preview } from 'vite';

/** Debian's place for Chromium; LAZY_ATTENTION_CHROMIUM names another. */
const executablePath = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';

/** The app's folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Why the page cannot be tested here, or null. */
export const noBrowser: string | null = !existsSync(executablePath)
  ? `no ${executablePath}; LAZY_ATTENTION_CHROMIUM names another`
  : existsSync(join(root, 'dist/index.html'))
    ? null
    : 'the page is not built';

/** Where models for tests are, by the rules of the other packages. */
export const models: string = process.env.LAZY_ATTENTION_MODELS ?? join(root, '../../../shared/models');

/** The built page under a path of its own, as a host would serve it. */
export async function serve(): Promise<{ address: string; close(): Promise<void> }> {
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

/** A page, and what it complained of: its console's errors, uncaught errors, and requests beyond its own files. */
export async function openPage(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
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
