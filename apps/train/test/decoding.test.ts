import { fileURLToPath } from 'node:url';
import { provider } from '@lazy-attention/backend-cpu';
import { type Backend, createBackend } from '@lazy-attention/core';
import { loadTokenizer } from '@lazy-attention/data';
import {
  type GenerateOptions,
  generate,
  type LazyTransformerOptions,
  lazyTransformer,
  preset,
} from '@lazy-attention/nn';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collect, continueText } from '../src/training/sample.ts';

const { available, reason } = await provider.probe();

const MODEL = { numHeads: 4, numKvHeads: 2, context: 40, initStd: 0.2 } as const;
const PROMPTS = [
  [1, 2, 3, 4, 5],
  [9, 8],
  [7, 7, 7, 7, 7, 7, 7],
];

/** What the prompts go on with, step by step. Gives all memory back. */
async function continuations(
  backend: Backend,
  options: Partial<GenerateOptions>,
  model: Partial<LazyTransformerOptions> = {},
): Promise<number[][]> {
  const transformer = lazyTransformer(preset('pico', { ...MODEL, ...model }));
  const params = transformer.init(backend, 3);
  const tokens: number[][] = [];
  for await (const step of generate(backend, transformer, params, PROMPTS, { maxNewTokens: 64, ...options })) {
    tokens.push([...step]);
  }
  for (const tensor of Object.values(params)) tensor.dispose();
  expect(backend.memory().tensors).toBe(0);
  return tokens;
}

// The prompts have unequal lengths, and go past the context that the model was made for.
describe.skipIf(!available)(`tokens drawn in launches of several${available ? '' : ` (cpu: ${reason})`}`, () => {
  let cpu: Backend;
  let reference: Backend;
  beforeAll(async () => {
    cpu = await createBackend('cpu');
    reference = await createBackend('reference');
  });
  afterAll(() => Promise.all([cpu.dispose(), reference.dispose()]));

  it.for<[string, Partial<GenerateOptions>, Partial<LazyTransformerOptions>]>([
    ['lazy', { temperature: 0 }, {}],
    ['softmax', { temperature: 0 }, { attention: 'softmax' }],
    ['alibi', { temperature: 0 }, { attention: 'alibi' }],
    ['embeddings of its own for the logits', { temperature: 0 }, { tieEmbeddings: false }],
    ['random', { seed: 5 }, {}],
    ['random among the likeliest', { seed: 5, temperature: 0.8, topK: 20, topP: 0.9 }, {}],
  ])('are those that the reference draws op by op: %s', { timeout: 60_000 }, async ([, options, model]) => {
    expect(await continuations(cpu, options, model)).toEqual(await continuations(reference, options, model));
  });

  it('end at stop tokens, row by row', { timeout: 60_000 }, async () => {
    const free = await continuations(cpu, { temperature: 0 });
    const stopTokens = [free[20][0], free[30][1]];
    const options = { temperature: 0, stopTokens };
    expect(await continuations(cpu, options)).toEqual(await continuations(reference, options));
  });

  it.each(['model.layers.1.mlp.up_proj.weight', 'model.norm.weight'])(
    'need %s, and leave nothing behind',
    async (name) => {
      const model = lazyTransformer(preset('pico', { ...MODEL, attention: 'alibi' }));
      const { [name]: missing, ...params } = model.init(cpu, 3);
      missing.dispose();
      const held = cpu.memory().tensors;
      const all = async () => {
        for await (const _ of generate(cpu, model, params, PROMPTS, { maxNewTokens: 8 }));
      };
      await expect(all()).rejects.toThrow(`params has no '${name}'`);
      expect(cpu.memory().tensors).toBe(held);
      for (const tensor of Object.values(params)) tensor.dispose();
    },
  );

  it('end when asked to, and leave nothing behind', async () => {
    const model = lazyTransformer(preset('pico', MODEL));
    const params = model.init(cpu, 3);
    const held = cpu.memory().tensors;
    let count = 0;
    for await (const _ of generate(cpu, model, params, PROMPTS, { maxNewTokens: 64 })) if (++count === 5) break;
    expect(cpu.memory().tensors).toBe(held);
    const controller = new AbortController();
    const aborted = async () => {
      const options = { maxNewTokens: 64, signal: controller.signal };
      for await (const _ of generate(cpu, model, params, PROMPTS, options)) if (++count === 10) controller.abort();
    };
    await expect(aborted()).rejects.toThrow(/abort/i);
    expect(count).toBe(10);
    expect(cpu.memory().tensors).toBe(held);
    for (const tensor of Object.values(params)) tensor.dispose();
  });
});

// generate, its --json, sample.txt and the ONNX runtime all take their text from here.
it('a text goes on behind its prompt with the space of the first token', async () => {
  const path = fileURLToPath(new URL('../../../packages/data/test/fixtures/metaspace.json', import.meta.url));
  const tokenizer = await loadTokenizer(path);
  const whole = [...tokenizer.encode('It was the best of times')];
  const prompt = [...tokenizer.encode('It was')];
  expect(whole.slice(0, prompt.length)).toEqual(prompt);
  async function* drawn() {
    for (const id of whole.slice(prompt.length)) yield Int32Array.of(id);
  }
  expect(await collect(continueText(drawn, tokenizer, 'It was', { maxNewTokens: 99 }, false))).toBe(
    ' the best of times',
  );
});
