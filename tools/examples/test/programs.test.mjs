import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createBackend, probeBackends } from '@lazy-attention/core';
import { adamW, attentionKinds, defineAttention, lazyTransformer, preset, valueAndGrad } from '@lazy-attention/nn';
import { chromium } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { executablePath, noBrowser } from '../lib/chromium.mjs';
import { root } from '../lib/snippets.mjs';

const examples = join(root, 'examples');
const environment = { ...process.env, LAZY_ATTENTION_BACKEND: 'reference' };

describe('examples/', () => {
  const programs = readdirSync(examples).filter((name) => name.endsWith('.mjs'));
  it.each(programs)('%s runs', (name) => {
    const result = spawnSync(process.execPath, [join(examples, name)], { encoding: 'utf8', env: environment });
    expect(result.status, result.stderr).toBe(0);
    expect(result.stdout).not.toBe('');
    expect(result.stderr).toBe('');
  });
});

describe.skipIf(noBrowser !== '')(`examples/browser ${noBrowser}`, () => {
  it('trains in a page', async () => {
    const server = spawn(process.execPath, [join(examples, 'browser/serve.mjs')], {
      env: { ...environment, PORT: '0' },
    });
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
    try {
      const address = await new Promise((done) => server.stdout.once('data', (line) => done(String(line).trim())));
      const page = await browser.newPage();
      const errors = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      await page.goto(`${address}?backend=reference`);
      await page.waitForFunction("document.querySelector('#log').textContent.includes('Done.')", { timeout: 100_000 });
      expect(errors).toEqual([]);
      expect(await page.textContent('#log')).toMatch(/reference, step 20: \d\.\d+ nats per byte/);
    } finally {
      await browser.close();
      server.kill();
    }
  });
});

/** Losses of some steps of `pico` on one line of text, with packed documents where `documents` says so. */
async function losses(backend, kind, { steps = 50, documents = false, ...change } = {}) {
  const model = lazyTransformer(preset('pico', { attention: kind, context: 16, ...change }));
  const params = model.init(backend, 1);
  const optimizer = adamW(backend, params);
  const text = new TextEncoder().encode('It was the best of times, it was the worst of times. '.repeat(4));
  const found = [];
  for (let n = 0; n < steps; n++) {
    const place = (i) => ((7 * n + 11 * (i >> 4)) % 180) + (i & 15);
    const at = (shift) => Int32Array.from({ length: 64 }, (_, i) => text[place(i) + shift]);
    const batch = {
      tokens: backend.tensor(at(0), [4, 16]),
      targets: backend.tensor(at(1), [4, 16]),
      starts: documents
        ? backend.tensor(
            Int32Array.from({ length: 64 }, (_, i) => ((i & 15) < 9 ? 0 : 9)),
            [4, 16],
          )
        : null,
    };
    const { value, grads } = valueAndGrad(backend, model.loss)(params, batch);
    optimizer.step(grads, 1e-3).gradNormSquared.dispose();
    found.push(value);
    for (const tensor of [...Object.values(batch), ...Object.values(grads)]) tensor?.dispose();
  }
  return Promise.all(found.map(async (loss) => (await loss.data())[0]));
}

/** Calls `fn` with the backend; skips the test, with the reason, where it does not work. */
async function onBackend(name, context, fn) {
  const { available, reason } = (await probeBackends()).find((report) => report.name === name);
  if (!available) context.skip(`${name} is not available: ${reason}`);
  const backend = await createBackend(name);
  try {
    await fn(backend);
  } finally {
    await backend.dispose();
  }
}

const BACKENDS = ['cpu', 'webgpu', 'tfjs'];
const KINDS = ['softpick', 'sigmoid', 'gated'];

describe.each(KINDS)('examples/attention/%s.mjs', (file) => {
  let kind;
  let expected;
  beforeAll(async () => {
    kind = defineAttention((await import(pathToFileURL(join(examples, `attention/${file}.mjs`)).href)).default);
    const backend = await createBackend('reference');
    expected = await losses(backend, kind.name);
    await backend.dispose();
  }, 120_000);

  it('learns', () => {
    expect(expected.every(Number.isFinite)).toBe(true);
    expect(expected[49]).toBeLessThan(0.7 * expected[0]);
  });

  it.for(BACKENDS)('has the losses of the reference on %s', (name, context) =>
    onBackend(name, context, async (backend) => {
      const found = await losses(backend, kind.name);
      for (const [n, loss] of found.entries()) expect(Math.abs(loss - expected[n]), `step ${n + 1}`).toBeLessThan(1e-3);
    }),
  );
});

const LLAMA = {
  qkNorm: true,
  attentionBias: 'qkvo',
  mlpBias: true,
  slidingWindow: 9,
  ropeScaling: { type: 'yarn', factor: 4, originalContext: 16 },
};
const composed = attentionKinds().flatMap((kind) => ('attend' in kind ? [[kind.name, {}]] : []));

describe.each([...composed, ['softmax', LLAMA]])('%s attention with %j', (kind, change) => {
  const options = { ...change, steps: 5, documents: true };
  let expected;
  beforeAll(async () => {
    const backend = await createBackend('reference');
    expected = await losses(backend, kind, options);
    await backend.dispose();
  }, 120_000);

  it.for(BACKENDS)('has the losses of the reference on %s', (name, context) =>
    onBackend(name, context, async (backend) => {
      const found = await losses(backend, kind, options);
      for (const [n, loss] of found.entries()) expect(Math.abs(loss - expected[n]), `step ${n + 1}`).toBeLessThan(1e-4);
    }),
  );
});
