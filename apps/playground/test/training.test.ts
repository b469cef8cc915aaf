import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend } from '@lazy-attention/core';
import { attentionKinds } from '@lazy-attention/nn';
import { expect, test } from 'vitest';
import { open as openWebGPU, unavailable } from '../../../packages/backend-webgpu/test/support.ts';
import { LONGEST_TASK, longestTask } from '../scripts/budget.mjs';
import { trainingData } from '../src/engine/dataset.ts';
import { newSession, stepBoth } from '../src/engine/session.ts';
import { commandOf, type Settings } from '../src/engine/settings.ts';
import { choose, inBrowser, launch, lossesOf, openPage, reached, root, SMALL, train } from './page.ts';

/** A training that is over at once, for those who only want to see that it starts. */
const ONE_STEP: Settings = { ...SMALL, batch: 1, steps: 1 };

/** The losses of both sides, by the page's own trainer in Node. */
async function lossesOn(backend: Backend, settings: Settings): Promise<[number[], number[]]> {
  const pairs = JSON.parse(readFileSync(join(root, 'public/record/pairs.json'), 'utf8'));
  const data = await trainingData(settings, { pairs: async () => pairs, book: async () => '' });
  const sides = ([0, 1] as const).map((side) => newSession(backend, settings, side, data));
  const losses: [number[], number[]] = [[], []];
  for (let step = 0; step < settings.steps; step++) {
    const [left, right] = await stepBoth(sides);
    losses[0].push(left as number);
    losses[1].push(right as number);
  }
  for (const side of sides) side.dispose();
  await backend.dispose();
  return losses;
}

/** The largest difference between two courses of training. */
function apart(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  return Math.max(...a.flatMap((losses, side) => losses.map((loss, i) => Math.abs(loss - (b[side]?.[i] ?? NaN)))));
}

const onReference = async () => new Backend(await reference.create({}));

test('the command that the page gives repeats its training', async () => {
  const settings: Settings = { ...SMALL, steps: 3 };
  const expected = await lossesOn(await onReference(), settings);
  const folder = mkdtempSync(join(tmpdir(), 'playground-command-'));
  for (const side of [0, 1] as const) {
    const out = join(folder, String(side));
    const words = commandOf(settings, side).split(' ').slice(2);
    const args = [join(root, '../train/dist/bin.js'), ...words, '--backend', 'reference', '--out', out];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
    const losses = lines.map((line) => JSON.parse(line)).filter(({ loss, step }) => loss !== undefined && step > 0);
    const found = expected[side].map((_, i) => losses.find(({ step }) => step === i + 1)?.loss);
    for (const [i, loss] of expected[side].entries()) expect(found[i]).toBeCloseTo(loss, 5);
  }
  rmSync(folder, { recursive: true });
});

inBrowser('training in the page', ({ at, browser }) => {
  test('50 steps of both kinds have the losses of WebGPU in Node, and of the reference', async () => {
    const { page, complaints } = await openPage(browser(), at());
    await choose(page, SMALL);
    const { count, processor } = await longestTask(page, () => train(page, 50));
    expect(await page.getByTestId('device').textContent()).toMatch(/^webgpu: .*swiftshader.* ms a step/i);
    const here = await lossesOf(page);
    expect(here.map(({ length }) => length)).toEqual([50, 50]);
    if (unavailable === null)
      expect(apart(here, await lossesOn((await openWebGPU()).backend, SMALL))).toBeLessThan(1e-3);
    expect(apart(here, await lossesOn(await onReference(), SMALL))).toBeLessThan(1e-3);
    expect(count).toBeGreaterThan(100);
    expect(processor).toBeLessThan(LONGEST_TASK);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('every kind trains, left and right', async () => {
    const kinds = attentionKinds().map(({ name }) => name);
    const { page, complaints } = await openPage(browser(), at());
    for (const [i, kind] of kinds.entries()) {
      const next = kinds[(i + 1) % kinds.length] as string;
      await choose(page, { ...ONE_STEP, kinds: [kind, next] });
      await train(page, 1);
      const [left, right] = await lossesOf(page);
      expect([...left, ...right].every(Number.isFinite), `${kind} and ${next}`).toBe(true);
      expect(await page.getByTestId('problem').count(), `${kind} and ${next}`).toBe(0);
    }
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('the book and a text of one’s own are learned; one that is too short is refused', async () => {
    const { page, complaints } = await openPage(browser(), at());
    await choose(page, { ...ONE_STEP, steps: 3, task: 'book' });
    await train(page, 3);
    const text = 'It was the best of times, it was the worst of times. '.repeat(60);
    await choose(page, { ...ONE_STEP, steps: 3, task: 'text', text });
    await train(page, 3);
    expect((await lossesOf(page))[0]).toHaveLength(3);
    expect(await page.getByTestId('problem').count()).toBe(0);
    await choose(page, { ...ONE_STEP, task: 'text', text: 'short' });
    await page.getByTestId('train').click();
    await page.getByTestId('problem').waitFor();
    expect(await page.getByTestId('problem').textContent()).toMatch(
      /too short to learn from: 5 bytes, where a context of 16 needs 100\. Paste more/,
    );
    await choose(page, ONE_STEP);
    await train(page, 1);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('pauses, takes one step, goes on, rests while the tab is hidden, and begins anew', async () => {
    const { page, complaints } = await openPage(browser(), at());
    const steps = async () =>
      Number(/([\d,]+) of/.exec((await page.getByTestId('device').textContent()) ?? '')?.[1]?.replace(',', ''));
    // A step that is under way when training is held still counts.
    const rests = () =>
      expect
        .poll(
          async () => {
            const before = await steps();
            await page.waitForTimeout(1000);
            return (await steps()) - before;
          },
          { timeout: 60_000 },
        )
        .toBe(0);
    const hide = (hidden: boolean) =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'hidden', { value, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      }, hidden);
    await choose(page, { ...SMALL, steps: 5000 });
    await train(page, 3);
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await rests();
    const before = await steps();
    await page.getByRole('button', { name: 'One step' }).click();
    await reached(page, before + 1);
    await rests();
    expect(await steps()).toBe(before + 1);
    await page.getByRole('button', { name: 'Go on' }).click();
    await reached(page, before + 3);
    await hide(true);
    await rests();
    const hidden = await steps();
    await hide(false);
    await reached(page, hidden + 2);
    await page.getByTestId('train').click();
    await page.waitForFunction(
      (most) =>
        Number(/([\d,]+) of/.exec(document.querySelector('[data-testid="device"]')?.textContent ?? '')?.[1]) < most,
      hidden,
    );
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('a lost GPU is told in a sentence, and training starts again', async () => {
    const own = await launch();
    const { page } = await openPage(own, at());
    await choose(page, { ...SMALL, steps: 5000 });
    await train(page, 1);
    const session = await own.newBrowserCDPSession();
    await session.send('Browser.crashGpuProcess' as never).catch(() => {});
    await page.getByTestId('problem').waitFor({ timeout: 60_000 });
    expect(await page.getByTestId('problem').textContent()).toContain('Press Train');
    await train(page, 1);
    await own.close();
  });

  test('without WebGPU it trains on WebAssembly, and without that too on the reference, and says why', async () => {
    const own = await launch(false);
    for (const [wasm, said] of [
      [true, /^tfjs: .*wasm.*WebGPU/s],
      [false, /^reference: .*WebGPU.*wasm/s],
    ] as const) {
      const { page, complaints } = await openPage(own, at());
      if (!wasm) await page.context().route(/\.wasm$/, (route) => route.abort());
      await choose(page, { ...ONE_STEP, steps: 3 });
      await train(page, 3);
      expect(await page.getByTestId('device').textContent()).toMatch(said);
      if (wasm) expect(complaints).toEqual([]);
      await page.context().close();
    }
    await own.close();
  });
});
