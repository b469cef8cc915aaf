import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { byteTokenizer, loadTokenizer } from '@lazy-attention/data';
import { decodeSafetensors, disposeParams, type LazyTransformerOptions, lazyTransformer } from '@lazy-attention/nn';
import { saveCheckpoint } from '@lazy-attention/nn/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelError } from '../src/index.ts';
import { openModel, type WriteOptions, writeModel } from '../src/node.ts';
import { type Expected, fixture, logitsError, on, readFixture } from './helpers.ts';

const root = mkdtempSync(join(tmpdir(), 'models-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const fresh = () => join(root, `out-${count++}`);

async function copy(path: string, options: WriteOptions): Promise<string> {
  const opened = await openModel(path);
  const out = fresh();
  await writeModel(opened, out, options).finally(() => opened.close());
  return options.format === 'gguf' ? join(out, 'model.gguf') : out;
}

const tensorsIn = (folder: string) =>
  Object.assign(
    {},
    ...readdirSync(folder)
      .filter((name) => name.endsWith('.safetensors'))
      .map((name) => decodeSafetensors(readFileSync(join(folder, name))).tensors),
  ) as Record<string, unknown>;

const errorOf = (path: string, expected: string) =>
  on('reference', async (backend) => {
    const opened = await openModel(path);
    const error = await logitsError(backend, await opened.load(backend), readFixture<Expected>(expected));
    await opened.close();
    return error;
  });

const refusal = async (work: Promise<unknown>): Promise<ModelError> => {
  const error = await work.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ModelError);
  return error as ModelError;
};

const HF = readdirSync(fixture('hf')).filter((name) => name !== 'fla' && name !== 'authors');

describe('Hugging Face folder', () => {
  it.each(HF)('%s comes back bit for bit, with a configuration that says the same', async (name) => {
    const out = await copy(fixture(`hf/${name}`), { format: 'hf' });
    expect(tensorsIn(out)).toEqual(tensorsIn(fixture(`hf/${name}`)));
    const [before, after] = await Promise.all([openModel(fixture(`hf/${name}`)), openModel(out)]);
    expect(after.config).toEqual(before.config);
    await before.close();
    await after.close();
  });

  it('is written of a GGUF file, and computes the same', async () => {
    const out = await copy(fixture('gguf/llama-q4_1.gguf'), { format: 'hf' });
    expect(await errorOf(out, 'gguf/llama-q4_1.json')).toBeLessThan(1e-5);
  });

  it('narrows when it is asked to', async () => {
    const opened = await openModel(await copy(fixture('hf/rope-theta'), { format: 'hf', dtype: 'f16' }));
    expect(Object.keys(await opened.storedTypes())).toEqual(['F16']);
    await opened.close();
  });
});

describe('GGUF file', () => {
  it.each(['llama', 'tied', 'attention-bias', 'qwen2', 'qwen3', 'qwen3-bias', 'rope-linear'])(
    '%s computes the same',
    async (name) => {
      const out = await copy(fixture(`hf/${name}`), { format: 'gguf', dtype: 'f32' });
      expect(await errorOf(out, `hf/${name}/expected.json`)).toBeLessThan(1e-5);
    },
  );

  it.each([
    ['authors', 'lazy'],
    ['mistral', 'slidingWindow'],
    ['rope-yarn', 'yarn'],
  ])('%s is refused with the reason', async (name, word) => {
    const error = await refusal(copy(fixture(`hf/${name}`), { format: 'gguf' }));
    expect(error.code).toBe('MODEL_WRITE');
    expect(error.message).toContain(word);
  });
});

describe('fla folder', () => {
  it.each(['fla', 'authors'])('%s computes the same', async (name) => {
    const out = await copy(fixture(`hf/${name}`), { format: 'fla' });
    expect(await errorOf(out, `hf/${name}/expected.json`)).toBeLessThan(1e-5);
  });

  it('refuses what fla lacks', async () => {
    const error = await refusal(copy(fixture('hf/mlp-bias'), { format: 'fla' }));
    expect(error.message).toContain('mlpBias');
  });
});

describe('a run of this project', () => {
  const config: LazyTransformerOptions = {
    vocabSize: 256,
    hiddenSize: 16,
    numLayers: 2,
    numHeads: 2,
    context: 32,
    window: 8,
  };
  const run = join(root, 'run');
  const ids = [[1, 2, 3, 250, 7, 9, 11, 65]];
  let expected: Float32Array;

  beforeAll(() =>
    on('reference', async (backend) => {
      const model = lazyTransformer(config);
      const params = model.init(backend, 3);
      const logits = await model.forward(backend, params, backend.tensor(Int32Array.from(ids[0]), [1, 8])).data();
      expected = Float32Array.from(logits);
      await saveCheckpoint(join(run, 'checkpoints'), { model, params, step: 5 });
      writeFileSync(join(run, 'run.json'), JSON.stringify({ data: { tokenizer: byteTokenizer() } }));
      disposeParams(params);
    }),
  );

  const logitsOf = (path: string) =>
    on('reference', async (backend) => {
      const opened = await openModel(path);
      const { model, params } = await opened.load(backend);
      const logits = await model.forward(backend, params, backend.tensor(Int32Array.from(ids[0]), [1, 8])).data();
      await opened.close();
      return Float32Array.from(logits);
    });

  it('opens by its folder and by its checkpoint, with its tokenizer', async () => {
    for (const [path, format] of [
      [run, 'run'],
      [join(run, 'checkpoints', 'step-00000005'), 'checkpoint'],
    ]) {
      const opened = await openModel(path);
      expect(opened).toMatchObject({ format, step: 5, config: { attention: 'lazy', window: 8 } });
      expect([...opened.tokenizer!.encode('A')]).toEqual([65]);
      await opened.close();
      expect(await logitsOf(path)).toEqual(expected);
    }
  });

  it.each(['hf', 'fla'] as const)('is the same model again from its %s folder', async (format) => {
    const out = await copy(run, { format });
    const opened = await openModel(out);
    expect(opened.config).toMatchObject({ attention: 'lazy', window: 8 });
    await opened.close();
    expect(await logitsOf(out)).toEqual(expected);
    const text = 'naïve — 🙂\n';
    expect([...(await loadTokenizer(out)).encode(text)]).toEqual([...byteTokenizer().encode(text)]);
  });

  it('has no checkpoint yet', async () => {
    const empty = fresh();
    mkdirSync(join(empty, 'checkpoints'), { recursive: true });
    writeFileSync(join(empty, 'run.json'), '{}');
    expect((await refusal(openModel(empty))).message).toContain('no checkpoint');
  });

  it.runIf(process.platform === 'linux')('ends where no folder can be made', async () => {
    const opened = await openModel(run);
    const error = await refusal(writeModel(opened, '/proc/nowhere/model', { format: 'hf' }));
    expect([error.code, error.message]).toEqual(['MODEL_WRITE', expect.stringContaining('cannot be written')]);
    await opened.close();
  });

  it('is not written over what is there', async () => {
    const error = await refusal(openModel(run).then((opened) => writeModel(opened, root, { format: 'hf' })));
    expect(error.message).toContain('is there already');
  });
});
