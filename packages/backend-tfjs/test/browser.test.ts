import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { createServer, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome } from './browser/page.ts';

/**
 * The engines that only browsers have, on a software GPU: that takes minutes, so a sample of the suite is run unless
 * LAZY_ATTENTION_BROWSER_CONFORMANCE is set.
 */
const whole = process.env.LAZY_ATTENTION_BROWSER_CONFORMANCE !== undefined;
const executablePath = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';
const missing = existsSync(executablePath) ? null : `no ${executablePath}; LAZY_ATTENTION_CHROMIUM names another`;

/** What the shaders of tfjs do not do, by a part of the cases' names. */
const LACKS: Readonly<Record<string, string>> = {
  not_a_number: 'shaders may take a NaN for a number',
  ' sin_': 'a shader’s sine is off by up to 1.2e-4',
  ' cos_': 'a shader’s cosine is as its sine',
  more_axes_than_a_view_has: 'tensors of more than six axes cannot be made',
};

/** Cases that are always run: what the engines' own kernels have got wrong. */
const ALWAYS = ['argmax', 'logSumExp'];

describe.skipIf(missing !== null)(missing === null ? 'in Chromium' : `in Chromium: skipped, ${missing}`, () => {
  let server: ViteDevServer;
  let browser: Browser;
  let page: Page;
  let cacheDir = '';

  beforeAll(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), 'tfjs-browser-'));
    server = await createServer({
      root: dirname(dirname(fileURLToPath(import.meta.url))),
      configFile: false,
      logLevel: 'error',
      cacheDir,
      server: { hmr: false, fs: { strict: false } },
      optimizeDeps: { entries: ['test/browser/page.ts'] },
      plugins: [{ name: 'page', configureServer: ({ middlewares }) => void middlewares.use('/page', servePage) }],
    });
    await server.listen(0);
    browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--use-angle=swiftshader'],
    });
    page = await browser.newPage();
    const address = server.httpServer?.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    await page.goto(`http://localhost:${port}/page`);
    await page.waitForFunction(() => 'conformance' in globalThis, null, { timeout: 60_000 });
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await rm(cacheDir, { recursive: true, force: true });
  });

  for (const [part, reason] of Object.entries(LACKS)) {
    it(`cases with '${part}' in their name: ${reason}`, (context) => context.skip(reason));
  }

  it.each([
    ['webgpu', whole ? 1 : 15],
    ['webgl', whole ? 1 : 45],
  ] as const)('%s conforms', { timeout: 900_000 }, async (engine, stride) => {
    const outcome = await page.evaluate(
      ([name, step, ...parts]) => (globalThis as unknown as Conformance).conformance(name, step, ...parts),
      [engine, stride, Object.keys(LACKS), ALWAYS] as const,
    );
    expect(outcome.device).toContain(`engine ${engine}`);
    expect(outcome.failed).toEqual([]);
    expect(outcome.run).toBeGreaterThan(9);
  });
});

interface Conformance {
  conformance(engine: string, stride: number, except: readonly string[], always: readonly string[]): Promise<Outcome>;
}

function servePage(
  _request: unknown,
  response: { setHeader(name: string, value: string): void; end(text: string): void },
) {
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><script type="module" src="/test/browser/page.ts"></script>');
}
