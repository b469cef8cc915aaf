import { provider } from '@lazy-attention/backend-cpu';
import { createBackend } from '@lazy-attention/core';
import { generate, lazyTransformer, preset } from '@lazy-attention/nn';
import { expect, it } from 'vitest';

/** Greedy continuations of prompts of unequal lengths, past the context that the model was made for. */
async function continuations(name: string, attention: 'lazy' | 'softmax' | 'alibi'): Promise<number[][]> {
  const backend = await createBackend(name);
  const model = lazyTransformer(preset('pico', { attention, numHeads: 4, numKvHeads: 2, context: 40, initStd: 0.2 }));
  const params = model.init(backend, 3);
  const prompts = [
    [1, 2, 3, 4, 5],
    [9, 8],
    [7, 7, 7, 7, 7, 7, 7],
  ];
  const tokens: number[][] = [];
  for await (const step of generate(backend, model, params, prompts, { maxNewTokens: 64, temperature: 0 })) {
    tokens.push([...step]);
  }
  expect(backend.memory().tensors).toBe(Object.keys(params).length);
  await backend.dispose();
  return tokens;
}

it.for(['lazy', 'softmax', 'alibi'] as const)(
  'whole layers in one launch draw the tokens that the reference draws op by op: %s',
  { timeout: 60_000 },
  async (attention, context) => {
    const { available, reason } = await provider.probe();
    if (!available) context.skip(`cpu: ${reason}`);
    expect(await continuations('cpu', attention)).toEqual(await continuations('reference', attention));
  },
);
