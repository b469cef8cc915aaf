import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { conformanceCases, OPS } from '@lazy-attention/conformance';
import { type Browser, chromium, type Page } from 'playwright-core';
import { createServer, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outcome } from './browser/page.ts';
import { ERROR_BOUND, ERROR_BOUNDS } from './functions.ts';

// On SwiftShader, the adapter that Chromium brings. It offers no other software adapter here: it sees Mesa's llvmpipe, but has "No
// available adapters" even where SwiftShader is taken away. SwiftShader has no shader-f16.
const executablePath = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';
const root = dirname(dirname(fileURLToPath(import.meta.url)));

function reasonToSkip(): string | null {
  if (!existsSync(executablePath)) return `no ${executablePath}; LAZY_ATTENTION_CHROMIUM names another`;
  if (!existsSync(join(root, 'dist/index.browser.js'))) return 'the package is not built';
  return null;
}
const skipped = reasonToSkip();

interface PageFunctions {
  readonly page: {
    device(): Promise<string>;
    conformance(op: string): Promise<Outcome>;
    training(steps: number): Promise<{ losses: number[]; expected: number[] }>;
    hidden(): Promise<string[]>;
    errors(): Promise<Record<string, number>>;
  };
}

describe.skipIf(skipped !== null)(`the built package in Chromium${skipped === null ? '' : `: ${skipped}`}`, () => {
  let server: ViteDevServer;
  let browser: Browser;
  let page: Page;
  let cacheDir = '';

  beforeAll(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), 'webgpu-browser-'));
    server = await createServer({
      root,
      configFile: false,
      logLevel: 'error',
      cacheDir,
      server: { hmr: false, fs: { strict: false } },
      optimizeDeps: { entries: ['test/browser/page.ts'] },
      plugins: [
        {
          name: 'page',
          configureServer({ middlewares }) {
            middlewares.use('/page', (_request, response) => {
              response.setHeader('content-type', 'text/html');
              response.end('<!doctype html><script type="module" src="/test/browser/page.ts"></script>');
            });
          },
        },
      ],
    });
    await server.listen(0);
    browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
    });
    page = await browser.newPage();
    const address = server.httpServer?.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    await page.goto(`http://localhost:${port}/page`);
    await page.waitForFunction(() => 'page' in globalThis, null, { timeout: 60_000 });
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await rm(cacheDir, { recursive: true, force: true });
  });

  test('runs on the software adapter that Chromium brings, and says so', async () => {
    const device = await page.evaluate(() => (globalThis as unknown as PageFunctions).page.device());
    expect(device).toMatch(/swiftshader.*\(software\)/i);
  });

  // A whole layer in one launch is not offered here.
  const offered = OPS.filter((op) => op !== 'decoder.layer');
  test.each([...offered, 'errors', 'memory'] as const)('conforms: %s', { timeout: 600_000 }, async (op) => {
    const outcome = await page.evaluate((each) => (globalThis as unknown as PageFunctions).page.conformance(each), op);
    expect(outcome.failed).toEqual([]);
    const all = conformanceCases({ size: 'small', dtypes: outcome.dtypes }).filter((each) => each.op === op);
    expect(outcome.run).toEqual(all.map(({ name }) => name));
    expect(outcome.run).not.toEqual([]);
  });

  test('hides no NaN', { timeout: 300_000 }, async () => {
    expect(await page.evaluate(() => (globalThis as unknown as PageFunctions).page.hidden())).toEqual([]);
  });

  test('functions hold over the whole range of f32', async () => {
    const errors = await page.evaluate(() => (globalThis as unknown as PageFunctions).page.errors());
    for (const [fn, error] of Object.entries(errors)) {
      expect(error, fn).toBeLessThan(ERROR_BOUNDS[fn] ?? ERROR_BOUND);
    }
  });

  test('trains like the reference', { timeout: 300_000 }, async () => {
    const { losses, expected } = await page.evaluate(() => (globalThis as unknown as PageFunctions).page.training(8));
    for (const [i, loss] of losses.entries()) {
      expect(Math.abs(loss / expected[i] - 1), `step ${i + 1}: ${loss}, ${expected[i]}`).toBeLessThan(1e-3);
    }
  });
});
