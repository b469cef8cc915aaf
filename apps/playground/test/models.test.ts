import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend } from '@lazy-attention/core';
import { lazyTransformer } from '@lazy-attention/nn';
import { saveCheckpoint } from '@lazy-attention/nn/node';
import type { Page } from 'playwright-core';
import { afterAll, expect, test } from 'vitest';
import { LONGEST_TASK, longestTask } from '../scripts/budget.mjs';
import { memoryLimit } from '../src/worker/memory.ts';
import { inBrowser, launch, models, openPage, toTheEnd } from './page.ts';

const scratch = mkdtempSync(join(tmpdir(), 'playground-models-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A run as `lazy-attention train` writes it, with a tiny model that has taken one step. */
async function runFolder(): Promise<string> {
  const folder = mkdtempSync(join(scratch, 'run-'));
  const backend = new Backend(await reference.create({}));
  const shape = { vocabSize: 256, hiddenSize: 16, numLayers: 1, numHeads: 2, context: 32 };
  const model = lazyTransformer({ ...shape, attention: 'lazy' });
  await saveCheckpoint(join(folder, 'checkpoints'), { model, params: model.init(backend, 0), step: 1 });
  writeFileSync(
    join(folder, 'run.json'),
    JSON.stringify({ data: { tokenizer: { kind: 'bytes', documentSeparator: false } } }),
  );
  return folder;
}

/** A Hugging Face folder whose weights are a hole of the right size: what a model says of itself is enough to refuse it. */
function largeFolder(): string {
  const folder = join(scratch, 'large');
  mkdirSync(folder);
  const [hidden, layers, heads, vocab, inner] = [768, 12, 12, 1000, 2048];
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: hidden,
      intermediate_size: inner,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: heads,
      vocab_size: vocab,
      max_position_embeddings: 512,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      tie_word_embeddings: true,
    }),
  );
  const shapes: Record<string, number[]> = {
    'model.embed_tokens.weight': [vocab, hidden],
    'model.norm.weight': [hidden],
  };
  for (let n = 0; n < layers; n++) {
    const layer = `model.layers.${n}`;
    for (const norm of ['input_layernorm', 'post_attention_layernorm']) shapes[`${layer}.${norm}.weight`] = [hidden];
    for (const name of 'qkvo') shapes[`${layer}.self_attn.${name}_proj.weight`] = [hidden, hidden];
    for (const name of ['gate', 'up']) shapes[`${layer}.mlp.${name}_proj.weight`] = [inner, hidden];
    shapes[`${layer}.mlp.down_proj.weight`] = [hidden, inner];
  }
  let at = 0;
  const header = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const begin = at;
      at += 4 * shape.reduce((a, b) => a * b);
      return [name, { dtype: 'F32', shape, data_offsets: [begin, at] }];
    }),
  );
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = join(folder, 'model.safetensors');
  writeFileSync(file, Buffer.concat([length, json]));
  truncateSync(file, 8 + json.length + at);
  return folder;
}

/** Gives the page a file or folder, and waits for what it says: of the model, or of a problem. */
async function give(page: Page, as: 'file' | 'folder', path: string): Promise<{ opened: string; problem: string }> {
  await page.getByTestId(as).setInputFiles(path);
  // What is under way is over when nothing is said to be going on, and something was found or is wrong.
  await page.waitForFunction(
    (name) => document.querySelector('[data-testid="problem"], [data-testid="opened"]')?.textContent?.includes(name),
    path.split('/').at(-1) as string,
    { timeout: 90_000 },
  );
  const text = async (id: string) =>
    (await page.getByTestId(id).count()) ? await page.getByTestId(id).textContent() : '';
  return { opened: (await text('opened')) ?? '', problem: (await text('problem')) ?? '' };
}

/** Drops a file on the page. */
function drop(page: Page, path: string): Promise<void> {
  return page.locator('.drop').evaluate((place, name) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(['GGUF and then nothing that belongs there'], name));
    place.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  }, path.split('/').at(-1) as string);
}

test('a model may take a quarter of the memory, and less where the GPU is the CPU', () => {
  expect(memoryLimit(8, false)).toBe(2 * 2 ** 30);
  expect(memoryLimit(8, true)).toBe(256 * 2 ** 20);
  expect(memoryLimit(undefined, false)).toBe(2 ** 30);
  expect(memoryLimit(0.5, true)).toBe(128 * 2 ** 20);
});

inBrowser('models of one’s own', ({ at, browser }) => {
  test('a run folder opens', async () => {
    const folder = await runFolder();
    const { page, complaints } = await openPage(browser(), at());
    await toTheEnd(page);
    const { opened } = await give(page, 'folder', folder);
    expect(opened).toContain('lazy, 1 layers of 2 heads');
    expect(await page.locator('[data-side="0"] h2').textContent()).toBe(folder.split('/').at(-1));
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('what is broken is told in a sentence that names it, and the page lives on', async () => {
    const run = await runFolder();
    truncateSync(join(run, 'checkpoints/step-00000001/model.safetensors'), 1000);
    const text = join(scratch, 'notes.txt');
    writeFileSync(text, 'This is no model.');
    const { page, complaints } = await openPage(browser(), at());
    await toTheEnd(page);
    for (const [as, path, said] of [
      ['folder', run, /model\.safetensors: .*(truncated|damaged)/],
      ['drop', 'broken.gguf', /broken\.gguf: .+/],
      ['file', text, /notes\.txt.*(config\.json|gguf|run folder)/is],
    ] as const) {
      await (as === 'drop' ? drop(page, path) : page.getByTestId(as).setInputFiles(path));
      await expect
        .poll(() => page.getByTestId('problem').textContent({ timeout: 60_000 }), { timeout: 60_000 })
        .toMatch(said);
      await page.getByRole('button', { name: 'Close' }).click();
      await toTheEnd(page);
    }
    const whole = await runFolder();
    expect((await give(page, 'folder', whole)).opened).toContain('1 layers');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('a model that is too large is refused in a sentence on memory, before its weights are read', async () => {
    const folder = largeFolder();
    const { page, complaints } = await openPage(browser(), at());
    await toTheEnd(page);
    const { problem } = await give(page, 'folder', folder);
    expect(problem).toMatch(/large needs 3\d\d MB of memory .* may use 256 MB here.* lazy-attention inspect/);
    await toTheEnd(page);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  const stories = join(models, 'stories260K');
  test.skipIf(!existsSync(stories))('stories260K opens as a Hugging Face folder', async () => {
    const { page, complaints } = await openPage(browser(), at());
    await toTheEnd(page);
    // Words that a model without a tokenizer cannot read make room for ids.
    await page.getByTestId('text').fill('callmeishmael');
    expect((await give(page, 'folder', stories)).opened).toMatch(/5 layers of 8 heads, 0\.26 M/);
    await page.waitForFunction(() => document.querySelectorAll('[data-side="0"] .thumbnails button').length === 40);
    await page.getByRole('button', { name: 'Write on, left' }).click();
    await page.waitForFunction(
      () => (document.querySelector('[data-testid="written"]')?.textContent ?? '').length > 150,
    );
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  const gguf = join(models, 'SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf');
  test.skipIf(!existsSync(gguf))('SmolLM2 as a GGUF is refused on an adapter that is a CPU', async () => {
    const { page, complaints } = await openPage(browser(), at());
    await toTheEnd(page);
    const { problem } = await give(page, 'file', gguf);
    expect(problem).toMatch(/needs 513 MB of memory .* may use 256 MB here.* lazy-attention inspect/);
    await toTheEnd(page);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test.skipIf(!existsSync(gguf))('on WebAssembly SmolLM2 opens, and its sinks are seen', async () => {
    const own = await launch(false);
    const { page, complaints } = await openPage(own, at());
    await toTheEnd(page);
    await page.getByTestId('file').setInputFiles(gguf);
    await page.waitForSelector('[data-testid="opened"], [data-testid="problem"]');
    expect(await page.locator('[data-testid="opened"]').textContent()).toContain('30 layers of 9 heads, 134.52 M');
    const { processor } = await longestTask(page, () =>
      page.waitForFunction(() => document.querySelectorAll('[data-side="0"] .thumbnails button').length === 270),
    );
    expect(processor).toBeLessThan(LONGEST_TASK);
    expect(Number(await page.getByTestId('first-0').textContent())).toBeGreaterThan(0.9);
    expect(complaints).toEqual([]);
    await own.close();
  });
});
