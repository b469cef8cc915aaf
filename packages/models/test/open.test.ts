import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openModel } from '../src/node.ts';
import { type Expected, fixture, logitsError, on, readFixture } from './helpers.ts';

const folders = readdirSync(fixture('hf'));
const ggufs = readdirSync(fixture('gguf')).flatMap((name) =>
  name.endsWith('.gguf') && !name.startsWith('tokenizer') ? [name.slice(0, -5)] : [],
);

/** What nn refuses so far. */
const WAITING = /yarn|rope-(scaling|llama3|linear|dynamic)|smollm3|qwen|bias|^mistral$/;

describe.each(['reference', 'cpu'])('logits of transformers, on %s', (backendName) => {
  it.each(folders.filter((name) => !WAITING.test(name)))('%s', async (name) => {
    const model = await openModel(fixture(`hf/${name}`));
    const error = await on(backendName, async (backend) =>
      logitsError(backend, await model.load(backend), readFixture<Expected>(`hf/${name}/expected.json`)),
    );
    await model.close();
    expect(error).toBeLessThan(1e-5);
  });

  // The rows of q and k are in another order for llama than for qwen2 and qwen3.
  it.each(ggufs.filter((name) => !WAITING.test(name)))('%s.gguf', async (name) => {
    const model = await openModel(fixture(`gguf/${name}.gguf`));
    const error = await on(backendName, async (backend) =>
      logitsError(backend, await model.load(backend), readFixture<Expected>(`gguf/${name}.json`)),
    );
    await model.close();
    expect(error).toBeLessThan(1e-5);
  });
});
