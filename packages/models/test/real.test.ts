import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter } from 'node:path';
import { type Backend, BackendUnavailableError, type TensorData } from '@lazy-attention/core';
import { createCache, disposeParams, generate } from '@lazy-attention/nn';
import { describe, expect, it } from 'vitest';
import type { LoadedModel, OpenedModel } from '../src/index.ts';
import { openModel } from '../src/node.ts';
import { on, readFixture, realModel, whyNoModel } from './helpers.ts';

interface Behaviour {
  readonly ids: readonly number[];
  /** Of every id after the first, float64. */
  readonly logProbabilities: readonly number[];
  readonly prompt: readonly number[];
  /** 64 tokens. */
  readonly greedy: readonly number[];
}

interface Ids {
  readonly odd: readonly { readonly text: string; readonly ids: readonly number[] }[];
  /** SHA-256 over the ids of every string of a file. */
  readonly benchmarks: Readonly<Record<string, string>>;
}

interface Real extends Ids {
  readonly smollm2: Behaviour & { readonly text: string };
  /** What the folder that transformers writes from the GGUF makes of texts: it does not split digits. */
  readonly folder: Ids;
  readonly stories260K: Behaviour;
}

const real = readFixture<Real>('real.json');
const SMOLLM2 = 'SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf';
const BENCHMARKS = realModel('../benchmarks');
/** SmolLM2 as transformers writes it, in one file or in shards: folders that somebody made from the GGUF. */
const FOLDERS = (process.env.LAZY_ATTENTION_SMOLLM2_FOLDERS ?? '').split(delimiter).filter((folder) => folder !== '');
const whyNoFolders = FOLDERS.length === 0 ? ' (skipped: LAZY_ATTENTION_SMOLLM2_FOLDERS names none)' : '';
/** Backends that take a second for a token are asked for a few, or for all where somebody has minutes. */
const ALL_TOKENS = process.env.LAZY_ATTENTION_ALL_TOKENS !== undefined;

async function worstLogProbability(backend: Backend, { model, params }: LoadedModel, expected: Behaviour) {
  const tokens = backend.tensor(Int32Array.from(expected.ids), [1, expected.ids.length]);
  const logits = model.forward(backend, params, tokens);
  const data = await logits.data();
  for (const tensor of [tokens, logits]) tensor.dispose();
  return worstOf(data, model.config.vocabSize, expected);
}

/** As decoding computes them: token by token, over a cache. */
async function worstOfSteps(backend: Backend, { model, params }: LoadedModel, expected: Behaviour) {
  const { vocabSize } = model.config;
  const logits = new Float32Array(expected.ids.length * vocabSize);
  const cache = createCache(backend, model.config, { batch: 1, capacity: expected.ids.length });
  for (const [i, id] of expected.ids.entries()) {
    const row = model.forward(backend, params, backend.tensor(Int32Array.of(id), [1, 1]), { cache });
    logits.set(await row.data(), i * vocabSize);
    row.dispose();
  }
  cache.dispose();
  return worstOf(logits, vocabSize, expected);
}

function worstOf(logits: TensorData, vocabSize: number, expected: Behaviour): number {
  let worst = 0;
  for (const [i, id] of expected.ids.slice(1).entries()) {
    const row = Array.from(logits.subarray(i * vocabSize, (i + 1) * vocabSize));
    const max = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((a, b) => a + Math.exp(b - max), 0);
    worst = Math.max(worst, Math.abs(row[id] - max - Math.log(sum) - expected.logProbabilities[i]));
  }
  return worst;
}

async function greedyTokens(backend: Backend, { model, params }: LoadedModel, { prompt, greedy }: Behaviour) {
  const found: number[] = [];
  const options = { maxNewTokens: greedy.length, temperature: 0 };
  for await (const [id] of generate(backend, model, params, [prompt], options)) found.push(id);
  return found;
}

type Skip = (why: string) => void;

/** `skip` is told why where the backend does not run. */
async function behaves(opened: OpenedModel, expected: Behaviour, skip: Skip, name = 'cpu'): Promise<void> {
  await onBackend(name, skip, async (backend) => {
    const loaded = await opened.load(backend, name === 'reference' ? { dtype: 'f64' } : {});
    expect(await worstLogProbability(backend, loaded, expected)).toBeLessThan(1e-4);
    expect(await greedyTokens(backend, loaded, expected)).toEqual(expected.greedy);
    disposeParams(loaded.params);
  });
}

async function onBackend(name: string, skip: Skip, work: (backend: Backend) => Promise<void>): Promise<void> {
  await on(name, work).catch((thrown: unknown) => {
    if (!(thrown instanceof BackendUnavailableError)) throw thrown;
    skip(thrown.message);
  });
}

/** The beginning of what is expected. */
function shortened(all: Behaviour, ids: number, greedy: number): Behaviour {
  return { ...all, ids: all.ids.slice(0, ids), greedy: all.greedy.slice(0, greedy) };
}

describe.skipIf(whyNoModel(SMOLLM2) !== '')(`SmolLM2 from its GGUF${whyNoModel(SMOLLM2)}`, () => {
  const opened = openModel(realModel(SMOLLM2));
  opened.catch(() => {}); // where it is skipped

  it('gives the log-probabilities of float64 within 1e-4, and 64 greedy tokens', async ({ skip }) => {
    await behaves(await opened, real.smollm2, skip);
  }, 300_000);

  it.for(['tfjs', 'webgpu', 'reference', 'cuda'])('does so on %s', { timeout: 1_800_000 }, async (name, { skip }) => {
    const few = shortened(real.smollm2, 12, 4);
    await behaves(await opened, ALL_TOKENS || name === 'cuda' ? real.smollm2 : few, skip, name);
  });

  it('does so with its weights in their blocks, in a fifth of the memory', async ({ skip }) => {
    await onBackend('cpu', skip, async (backend) => {
      const loaded = await (await opened).load(backend, { weights: 'blocks' });
      expect(backend.memory().bytes).toBeLessThan(97e6);
      expect(await worstLogProbability(backend, loaded, real.smollm2)).toBeLessThan(1e-4);
      expect(await worstOfSteps(backend, loaded, real.smollm2)).toBeLessThan(1e-4);
      expect(await greedyTokens(backend, loaded, real.smollm2)).toEqual(real.smollm2.greedy);
    });
  }, 300_000);

  it('knows the ids of odd kinds of text', async () => {
    knowsOddTexts(await opened, real);
  });

  it.skipIf(!existsSync(BENCHMARKS))(
    'knows the ids of all strings of ten benchmarks',
    { timeout: 300_000 },
    async () => {
      knowsBenchmarks(await opened, real);
    },
  );
});

describe.skipIf(FOLDERS.length === 0)(`SmolLM2 in Hugging Face's layout${whyNoFolders}`, () => {
  it.for(FOLDERS)('is the same in %s', { timeout: 600_000 }, async (folder, { skip }) => {
    const opened = await openModel(folder);
    expect(opened.format).toBe('hf');
    await behaves(opened, real.smollm2, skip);
    knowsOddTexts(opened, real.folder);
    if (existsSync(BENCHMARKS)) knowsBenchmarks(opened, real.folder);
    await opened.close();
  });
});

describe.skipIf(whyNoModel('stories260K') !== '')(`stories260K${whyNoModel('stories260K')}`, () => {
  it('gives the log-probabilities of float64 within 1e-4, and 64 greedy tokens', async ({ skip }) => {
    const opened = await openModel(realModel('stories260K'));
    expect(opened.tokenizer).toBeNull();
    await behaves(opened, real.stories260K, skip);
    await opened.close();
  });
});

function knowsOddTexts({ tokenizer }: OpenedModel, { odd }: Ids): void {
  expect([...tokenizer!.encode(real.smollm2.text)]).toEqual(real.smollm2.ids);
  for (const { text, ids } of odd) expect([...tokenizer!.encode(text)], text).toEqual(ids);
}

function knowsBenchmarks({ tokenizer }: OpenedModel, { benchmarks }: Ids): void {
  for (const [file, digest] of Object.entries(benchmarks)) {
    const hash = createHash('sha256');
    for (const line of readFileSync(`${BENCHMARKS}/${file}`, 'utf8').trimEnd().split('\n')) {
      for (const text of strings(JSON.parse(line))) hash.update(`${JSON.stringify([...tokenizer!.encode(text)])}\n`);
    }
    expect(hash.digest('hex'), file).toBe(digest);
  }
}

function* strings(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) yield* strings(part);
}
