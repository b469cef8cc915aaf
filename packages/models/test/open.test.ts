import { readdirSync } from 'node:fs';
import { BackendUnavailableError } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { storedWeights } from '../src/index.ts';
import { openModel } from '../src/node.ts';
import { type Expected, fixture, logitsError, on, readFixture } from './helpers.ts';

interface Case {
  readonly name: string;
  readonly path: string;
  readonly expected: string;
}

const cases: Case[] = [
  ...readdirSync(fixture('hf')).map((name) => ({
    name,
    path: `hf/${name}`,
    expected: `hf/${name}/expected.json`,
  })),
  // The rows of q and k are in another order for llama than for qwen2 and qwen3.
  ...readdirSync(fixture('gguf')).flatMap((name) =>
    name.endsWith('.gguf') && !name.startsWith('tokenizer')
      ? [{ name, path: `gguf/${name}`, expected: `gguf/${name.slice(0, -5)}.json` }]
      : [],
  ),
];

describe.each(['reference', 'cpu', 'tfjs', 'webgpu'])('logits of transformers, on %s', (backendName) => {
  it.for(cases)('$name', { timeout: 60_000 }, async ({ path, expected }, { skip }) => {
    const opened = await openModel(fixture(path));
    const error = await on(backendName, async (backend) =>
      logitsError(backend, await opened.load(backend), readFixture<Expected>(expected)),
    ).catch((thrown: unknown) => {
      if (!(thrown instanceof BackendUnavailableError)) throw thrown;
      return skip(thrown.message);
    });
    await opened.close();
    expect(error).toBeLessThan(1e-5);
  });
});

describe('weights as the file stores them', () => {
  it.each([
    ['gguf/llama-q4_1.gguf', 'blocks'],
    ['gguf/qwen2-q8_0.gguf', 'blocks'],
    ['gguf/qwen3-f32.gguf', 'dense'],
    ['gguf/llama-f16.gguf', 'dense'],
    ['hf/llama', 'bf16'],
    ['hf/rope-theta', 'dense'],
  ] as const)('%s: %s, with the same logits', async (path, expected) => {
    const opened = await openModel(fixture(path));
    await on('reference', async (backend) => {
      const weights = await storedWeights(backend, opened);
      expect(weights).toBe(expected);
      const logits = path.endsWith('.gguf') ? `${path.slice(0, -5)}.json` : `${path}/expected.json`;
      const loaded = await opened.load(backend, { weights });
      expect(await logitsError(backend, loaded, readFixture<Expected>(logits))).toBeLessThan(1e-5);
    });
    // TensorFlow.js takes no packed weights.
    await on('tfjs', async (backend) => expect(await storedWeights(backend, opened)).toBe('dense'));
    await opened.close();
  });
});
