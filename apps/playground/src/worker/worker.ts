import { type Backend, DeviceLostError, LazyAttentionError, OutOfMemoryError, type Tensor } from '@lazy-attention/core';
import { byteTokenizer, type Tokenizer } from '@lazy-attention/data/browser';
import { blobFiles, blobSource, openModelFiles, openRunFiles } from '@lazy-attention/models';
import {
  decodeSafetensors,
  disposeParams,
  encodeSafetensors,
  generate,
  type HostTensor,
  type LazyTransformerOptions,
  lazyTransformer,
  loadParamsFrom,
  type Params,
  parameterCount,
} from '@lazy-attention/nn';
import { expose, transfer } from 'comlink';
import { type DataFiles, trainingData } from '../engine/dataset.ts';
import { type Loaded, lookAt, measuredTokens } from '../engine/look.ts';
import { shownToken } from '../engine/tokens.ts';
import { unpacked } from '../engine/unpack.ts';
import { MAP_ROWS } from '../record/record.ts';
import type { Device, Engine, SideLook, TauChange } from './api.ts';
import { openBackend } from './device.ts';
import { memoryLimit, tooLarge } from './memory.ts';
import { startTraining, type Training } from './training.ts';

/** Tokens that a text is looked at: maps of more would be too fine to read. */
const MOST_TOKENS = 96;
const NEXT = 8;

interface Side extends Loaded {
  readonly tokenizer: Tokenizer | null;
  /** Whether the parameters are this side's to give back. */
  readonly own: boolean;
}

let backend: Backend | null = null;
let device: Device | null = null;
let training: Training | null = null;
const sides: [Side | null, Side | null] = [null, null];
/** The page's own folder: the worker's script lies in assets/ beneath it. */
const base = new URL(import.meta.env.DEV ? '/' : '../', self.location.href);

const files: DataFiles = {
  pairs: async () => (await fetched('record/pairs.json')).json(),
  book: async () => new TextDecoder().decode(await unpacked(await fetched('record/moby-dick.txt.gz'))),
};

async function fetched(path: string): Promise<Response> {
  const response = await fetch(new URL(path, base)).catch(() => null);
  if (response?.ok) return response;
  throw new Error(`${path} could not be loaded. Check the connection and reload the page.`);
}

/** What went wrong and what to do, in a sentence. */
function explain(error: unknown): string {
  if (error instanceof DeviceLostError) {
    forget();
    return 'The GPU was lost: its driver was reset, or the system took it away. Press Train to start again; the recording still plays.';
  }
  if (error instanceof OutOfMemoryError)
    return 'The GPU has not enough memory for this. Choose a smaller preset, context or batch.';
  return error instanceof Error ? error.message : String(error);
}

/** After a loss nothing on the device can be given back. */
function forget(): void {
  backend = null;
  device = null;
  training = null;
  sides[0] = null;
  sides[1] = null;
}

async function ready(): Promise<Backend> {
  if (backend === null) await engine.start('auto');
  return backend as unknown as Backend;
}

function put(side: 0 | 1, next: Side | null): void {
  const before = sides[side];
  if (before?.own) disposeParams(before.params);
  sides[side] = next;
}

async function endTraining(): Promise<void> {
  const before = training;
  training = null;
  if (before === null) return;
  put(0, null);
  put(1, null);
  await before.stop();
}

function needed(side: 0 | 1): Side {
  const found = sides[side];
  if (found === null) throw new Error('There is no model on this side yet. Train one, or open one.');
  return found;
}

/** The ids of a text for one model. @throws where it has no tokenizer and the text is no list of ids */
function idsOf({ tokenizer, model }: Side, input: string | readonly number[]): Int32Array {
  const most = Math.min(MOST_TOKENS, model.config.context);
  if (typeof input !== 'string') return Int32Array.from(input).slice(0, most);
  if (tokenizer !== null) {
    const ids = [...tokenizer.encode(input)];
    if (tokenizer.bosId !== undefined) ids.unshift(tokenizer.bosId);
    if (ids.length === 0) throw new Error('The text is empty. Type at least one character.');
    return Int32Array.from(ids).slice(0, most);
  }
  const ids = input
    .trim()
    .split(/[\s,]+/)
    .map(Number);
  if (ids.every((id) => Number.isInteger(id) && id >= 0 && id < model.config.vocabSize))
    return Int32Array.from(ids).slice(0, most);
  throw new Error(
    `This model came without a tokenizer. Give token ids from 0 to ${model.config.vocabSize - 1} with spaces between, or put its tokenizer.json into the folder.`,
  );
}

/** Parameters with one head's tau changed; what was made is given back by `done`. */
async function withTau(on: Backend, params: Params, tau: TauChange): Promise<{ params: Params; done(): void }> {
  const name = Object.keys(params).find((key) => new RegExp(`\\.${tau.layer}\\.attn\\.tau$`).test(key));
  if (name === undefined) return { params, done() {} };
  const before = params[name] as Tensor;
  const values = Float32Array.from(await before.data());
  values[tau.head] = tau.value;
  const changed = on.tensor(values, before.shape);
  return { params: { ...params, [name]: changed }, done: () => changed.dispose() };
}

async function lookSide(
  on: Backend,
  side: Side,
  input: string | readonly number[],
  tau: TauChange | null,
): Promise<SideLook> {
  const ids = idsOf(side, input);
  const { params, done } = tau === null ? { params: side.params, done() {} } : await withTau(on, side.params, tau);
  try {
    const { view, next } = await lookAt(on, { model: side.model, params }, ids);
    const order = Array.from(next.keys()).sort((a, b) => (next[b] as number) - (next[a] as number));
    return {
      tokens: Array.from(ids, (id) => shownToken(side.tokenizer, id)),
      view,
      next: order
        .slice(0, NEXT)
        .map((id) => ({ token: shownToken(side.tokenizer, id), probability: next[id] as number })),
    };
  } finally {
    done();
  }
}

async function recordedSide(on: Backend, kind: string): Promise<Side> {
  const blob = await (await fetched(`record/${kind}.safetensors`)).blob();
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const { metadata } = decodeSafetensors(bytes);
  const model = lazyTransformer(JSON.parse(metadata.config ?? '{}') as LazyTransformerOptions);
  const params = await loadParamsFrom(on, blobSource(blob, kind), model.shapes, { dtype: 'f32' });
  return { model, params, tokenizer: byteTokenizer({ documentSeparator: true }), own: true };
}

/** Every error leaves as a sentence. */
function told<T extends Engine>(of: T): T {
  return Object.fromEntries(
    Object.entries(of).map(([name, fn]) => [
      name,
      async (...args: unknown[]) => {
        try {
          return await (fn as (...all: unknown[]) => unknown)(...args);
        } catch (error) {
          if (!(error instanceof LazyAttentionError) && !(error instanceof Error)) throw error;
          throw new Error(explain(error));
        }
      },
    ]),
  ) as unknown as T;
}

const engine: Engine = {
  async start(choice) {
    if (device !== null && (choice === 'auto' || choice === device.backend)) return device;
    await endTraining();
    put(0, null);
    put(1, null);
    await backend?.dispose();
    backend = null;
    ({ backend, device } = await openBackend(choice));
    return device;
  },
  async train(settings, events) {
    const on = await ready();
    await endTraining();
    const data = await trainingData(settings, files);
    put(0, null);
    put(1, null);
    training = startTraining(on, settings, data, events, explain);
    for (const side of [0, 1] as const) {
      const { model, params } = training.sides[side];
      sides[side] = { model, params, tokenizer: data.tokenizer, own: false };
    }
    const ids = [...measuredTokens(settings.context, data, MAP_ROWS)];
    return { ids, tokens: ids.map((id) => shownToken(data.tokenizer, id)) };
  },
  async pause() {
    training?.pause();
  },
  async resume() {
    training?.resume();
  },
  async single() {
    training?.single();
  },
  async useRecorded(kinds) {
    const on = await ready();
    await endTraining();
    for (const side of [0, 1] as const) put(side, await recordedSide(on, kinds[side] as string));
  },
  async open(side, blobs, name) {
    const opening = blobFiles(blobs, name);
    const own = opening.names.some((file) => file === 'run.json' || file === 'checkpoint.json');
    const opened = await (own ? openRunFiles(opening) : openModelFiles(opening));
    const on = await ready();
    const memory = (navigator as { deviceMemory?: number }).deviceMemory;
    const limit = memoryLimit(memory, /software/i.test(on.device) || on.name === 'reference');
    const refused = tooLarge(name, opened.config, on.name === 'reference' ? 8 : 4, limit);
    if (refused !== null) throw new Error(refused);
    await endTraining();
    const { model, params } = await opened.load(on, { dtype: 'f32' });
    put(side, { model, params, tokenizer: opened.tokenizer, own: true });
    const { attention, numLayers, numHeads } = opened.config;
    return {
      name,
      kind: attention,
      layers: numLayers,
      heads: numHeads,
      parameters: parameterCount(opened.config),
      hasTokenizer: opened.tokenizer !== null,
    };
  },
  async look(input, tau) {
    const on = await ready();
    const found: (SideLook | null)[] = [];
    for (const side of sides) found.push(side === null ? null : await lookSide(on, side, input, tau));
    return { sides: [found[0] ?? null, found[1] ?? null] };
  },
  async generate(side, prompt, tokens, more) {
    const on = await ready();
    const { model, params, tokenizer, ...rest } = needed(side);
    const ids = idsOf({ model, params, tokenizer, ...rest }, prompt);
    const decoder = tokenizer?.decoder(ids);
    const options = { maxNewTokens: tokens, temperature: 0.8, topK: 40, seed: 0 };
    for await (const [id] of generate(on, model, params, [ids], options)) {
      const piece = decoder === undefined ? ` ${id}` : decoder.push(id as number);
      if (piece !== '') more(piece);
    }
  },
  async weights(side) {
    const { params, model } = needed(side);
    const tensors: { [name: string]: HostTensor } = {};
    for (const [name, tensor] of Object.entries(params)) {
      tensors[name] = { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.data() };
    }
    const bytes = encodeSafetensors(tensors, { config: JSON.stringify(model.config) });
    return transfer(bytes, [bytes.buffer]);
  },
};

expose(told(engine));
