import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { generate, lazyTransformer, type Params } from '@lazy-attention/nn';
import { exportModel, OnnxModel } from '@lazy-attention/onnx';
import { beforeAll, describe, expect, it } from 'vitest';
import { CONFIGS, columns, inputs, largestDifference, noWebGpu, setUp, trainedParams } from './common.ts';

const TOLERANCE = 1e-4;
const home = setUp();
const params: Record<string, Params> = {};

beforeAll(async () => {
  for (const [name, config] of Object.entries(CONFIGS)) {
    params[name] = await trainedParams(home.backend, config);
    await exportModel({ config, params: params[name], out: home.path(`${name}.onnx`) });
  }
});

async function expectedLogits(name: string, tokens: Int32Array, starts: Int32Array, batch: number) {
  const { backend } = home;
  const shape = [batch, tokens.length / batch];
  const logits = backend.scope(() =>
    lazyTransformer(CONFIGS[name]).forward(backend, params[name], backend.tensor(tokens, shape), {
      starts: backend.tensor(starts, shape),
    }),
  );
  return (await logits.data()) as Float32Array;
}

for (const provider of ['cpu', 'webgpu'] as const) {
  const missing = provider === 'webgpu' ? noWebGpu : null;
  const title = missing === null ? `on ${provider}` : `on ${provider}: skipped, ${missing}`;

  describe.skipIf(missing !== null)(title, { timeout: 120_000 }, () => {
    describe.each(Object.keys(CONFIGS))('%s', (name) => {
      it('has the logits of the model at batch 1 and 3, with and without cache', async () => {
        const model = await OnnxModel.create({ file: home.path(`${name}.onnx`), provider });
        const length = 19;
        for (const batch of [1, 3]) {
          const { tokens, starts } = inputs(batch, length);
          const expected = await expectedLogits(name, tokens, starts, batch);
          const whole = await model.forward(tokens, batch, { starts });
          expect(largestDifference(whole, expected)).toBeLessThan(TOLERANCE);

          const cache = model.createCache(batch);
          const { vocabSize } = model.config;
          for (const [from, to] of [
            [0, 11],
            [11, 12],
            [12, 17],
            [17, 19],
          ]) {
            const part = await model.forward(columns(tokens, length, from, to), batch, {
              starts: columns(starts, length, from, to),
              cache,
            });
            const share = expected.filter((_, i) => {
              const position = Math.floor(i / vocabSize) % length;
              return position >= from && position < to;
            });
            expect(largestDifference(part, share)).toBeLessThan(TOLERANCE);
          }
          expect(cache.length).toBe(length);
          cache.dispose();
        }
        await model.dispose();
      });
    });

    it('continues prompts of unequal lengths greedily as the model does, past its context', async () => {
      const prompts = [[72, 101, 108, 108, 111], [10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]];
      const options = { maxNewTokens: 64, temperature: 0 };
      const collect = async (steps: AsyncIterable<Int32Array>) => {
        const rows: number[][] = [];
        for await (const step of steps) rows.push([...step]);
        return rows;
      };
      const { backend } = home;
      const expected = await collect(generate(backend, lazyTransformer(CONFIGS.lazy), params.lazy, prompts, options));
      const model = await OnnxModel.create({ file: home.path('lazy.onnx'), provider });
      expect(await collect(model.generate(prompts, options))).toEqual(expected);
      expect(expected).toHaveLength(64);
      expect(new Set(expected.flat()).size).toBeGreaterThan(5);
      await model.dispose();
    });

    it('computes on the provider: only shape arithmetic may be placed on the CPU', async () => {
      const prefix = home.path(`profile-${provider}`);
      const model = await OnnxModel.create({
        file: home.path('lazy.onnx'),
        provider,
        session: { enableProfiling: true, profileFilePrefix: prefix },
      });
      const { cache } = await model.prefill([[1, 2, 3]]);
      await model.decode(cache, Int32Array.of(4));
      cache.dispose();
      model.endProfiling();
      await model.dispose();
      const placed = await placements(prefix);
      const expected = provider === 'cpu' ? 'CPUExecutionProvider' : 'WebGpuExecutionProvider';
      const attention = placed.filter(({ node }) => node.includes('/attention/'));
      expect(attention.length).toBeGreaterThan(20);
      expect(attention.filter(({ on }) => on !== expected)).toEqual([]);
      const elsewhere = placed.filter(({ on }) => on !== expected);
      expect(elsewhere.filter(({ node }) => !/^positions\/(Shape|Gather|Add)/.test(node))).toEqual([]);
    });
  });
}

it('runs in onnxruntime-web too', async () => {
  const web = await import('onnxruntime-web');
  web.env.wasm.numThreads = 1;
  const [batch, length] = [2, 9];
  const { tokens, starts } = inputs(batch, length);
  const { numLayers, numKvHeads, headDim } = lazyTransformer(CONFIGS.lazy).config;
  const past = Array.from({ length: numLayers }, (_, layer) => ['key', 'value'].map((part) => [layer, part])).flat();
  const empty = () => new web.Tensor('float32', new Float32Array(0), [batch, numKvHeads, 0, headDim]);
  const session = await web.InferenceSession.create(await readFile(home.path('lazy.onnx')));
  const { logits } = await session.run({
    tokens: new web.Tensor('int32', tokens, [batch, length]),
    starts: new web.Tensor('int32', starts, [batch, length]),
    ...Object.fromEntries(past.map(([layer, part]) => [`past_key_values.${layer}.${part}`, empty()])),
  });
  const expected = await expectedLogits('lazy', tokens, starts, batch);
  expect(largestDifference(logits.data as Float32Array, expected)).toBeLessThan(TOLERANCE);
  await session.release();
});

/** Which provider ran each node, from the runtime's profile. */
async function placements(prefix: string): Promise<{ node: string; on: string }[]> {
  const folder = dirname(prefix);
  const files = (await readdir(folder)).map((file) => join(folder, file)).filter((file) => file.startsWith(prefix));
  const events = JSON.parse(await readFile(files[0], 'utf8')) as { name: string; args?: { provider?: string } }[];
  return events
    .filter((event) => event.name.endsWith('_kernel_time'))
    .map(({ name, args }) => ({ node: name.replace(/_kernel_time$/, ''), on: args?.provider ?? 'none' }));
}
