/**
 * The engines of TensorFlow.js beside each other, and onnxruntime-node beside the native backend:
 *
 *   node tools/bench/dist/engines.js [--part engines|onnx] [--output FILE] [--repeats N] [--seconds PER_CASE]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Backend, createBackend } from '@lazy-attention/core';
import { disposeParams, generate, lazyTransformer, preset } from '@lazy-attention/nn';
import { exportModel, OnnxModel, type OnnxProvider } from '@lazy-attention/onnx';
import type { Case, DecodeCase } from './cases.ts';
import { titleOf } from './cases.ts';
import { type Failure, type Measurement, measure } from './measure.ts';
import type { Peer, Runner } from './peer.ts';
import { lazyPeer } from './peers/lazy.ts';
import { enginePeer } from './peers/tfjs.ts';

const { values } = parseArgs({
  options: {
    part: { type: 'string' },
    output: { type: 'string' },
    repeats: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '20' },
  },
});
const options = { repeats: Number(values.repeats), seconds: Number(values.seconds) };

interface Row {
  readonly title: string;
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
}

const rows: Row[] = [];
const about: Record<string, string> = {};

if (values.part !== 'onnx') await compareEngines();
if (values.part !== 'engines') await compareOnnx();
if (values.output !== undefined) {
  const machine = { processor: cpus()[0].model, cores: availableParallelism(), node: process.version };
  mkdirSync(dirname(values.output), { recursive: true });
  writeFileSync(
    values.output,
    `${JSON.stringify({ date: new Date().toISOString(), machine, about, rows }, null, 1)}\n`,
  );
  console.log(`written to ${values.output}`);
}

async function compareEngines(): Promise<void> {
  const attention = (batch: number, heads: number, length: number, headDim: number): Case[] =>
    [false, true].map((backward) => ({
      kind: 'attention',
      batch,
      heads,
      length,
      headDim,
      window: 512,
      local: null,
      backward,
    }));
  const model = { vocabSize: 256, hiddenSize: 128, numLayers: 2, numHeads: 4, context: 128 };
  const cases: Case[] = [
    { kind: 'matmul', m: 1024, n: 1024, k: 1024, transposeA: false, transposeB: true },
    ...attention(1, 8, 1024, 64),
    ...attention(4, 4, 256, 32),
    { kind: 'train', model, batch: 8, learningRate: 1e-4 },
  ];
  const peers = await openAll([lazyPeer('cpu'), ...['tfjs-node', 'wasm', 'cpu'].map(enginePeer)]);
  for (const task of cases) add(titleOf(task), await measure(task, peers, options));
  for (const peer of peers) await peer.close();
}

/** Prefill and decoding of the same model, exported and not. */
async function compareOnnx(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'lazy-bench-'));
  try {
    for (const size of ['nano', 'small'] as const) {
      const task: DecodeCase = { kind: 'decode', model: preset(size), prompt: 192, tokens: 16 };
      const file = join(folder, `${size}.onnx`);
      await exportRandom(task, file);
      const prefill = await openAll([prefillPeer(), onnxPeer(file, 'cpu', 'prefill')]);
      add(
        titleOf(task)
          .replace(/^decode/, 'prefill')
          .replace('after', 'of'),
        await measure(task, prefill, options),
      );
      const decode = await openAll([lazyPeer('cpu'), onnxPeer(file, 'cpu', 'decode')]);
      add(titleOf(task), await measure(task, decode, options));
      for (const peer of [...prefill, ...decode]) await peer.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function exportRandom({ model: config }: DecodeCase, out: string): Promise<void> {
  const backend = await createBackend('cpu');
  const params = lazyTransformer(config).init(backend, 1);
  await exportModel({ config, params, out });
  await backend.dispose();
}

function promptOf(task: Case): Int32Array {
  const { model, prompt } = task as DecodeCase;
  return Int32Array.from({ length: prompt }, (_, i) => (i * 31) % model.vocabSize);
}

/** The native backend's time to the first token. */
function prefillPeer(): Peer {
  let backend: Backend;
  return {
    name: 'lazy-attention cpu',
    open: async () => {
      backend = await createBackend('cpu');
      return { about: backend.device };
    },
    async prepare(task): Promise<Runner> {
      const model = lazyTransformer((task as DecodeCase).model);
      const params = model.init(backend, 1);
      return {
        run: () =>
          timed(async () => {
            const settings = { maxNewTokens: 1, temperature: 0 };
            for await (const _ of generate(backend, model, params, [promptOf(task)], settings));
          }),
        dispose: async () => disposeParams(params),
      };
    },
    close: () => backend.dispose(),
  };
}

function onnxPeer(file: string, device: OnnxProvider, what: 'prefill' | 'decode'): Peer {
  let model: OnnxModel;
  return {
    name: `onnxruntime-node ${device}`,
    async open() {
      try {
        model = await OnnxModel.create({ file, provider: device });
        return { about: `onnxruntime-node, ${device} provider` };
      } catch (error) {
        return { absent: error instanceof Error ? error.message : String(error) };
      }
    },
    async prepare(task): Promise<Runner> {
      const { tokens } = task as DecodeCase;
      return {
        async run() {
          const start = performance.now();
          const { cache } = await model.prefill([promptOf(task)]);
          const first = performance.now() - start;
          const rest =
            what === 'prefill'
              ? 0
              : await timed(async () => {
                  for (let i = 0; i < tokens; i++) await model.decode(cache, Int32Array.of(i));
                });
          cache.dispose();
          return what === 'prefill' ? first : rest / tokens;
        },
        dispose: async () => {},
      };
    },
    close: () => model.dispose(),
  };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function openAll(peers: readonly Peer[]): Promise<Peer[]> {
  const open: Peer[] = [];
  for (const peer of peers) {
    const answer = await peer.open();
    about[peer.name] = 'about' in answer ? answer.about : `absent: ${answer.absent}`;
    if ('about' in answer) open.push(peer);
  }
  return open;
}

function add(title: string, result: Omit<Row, 'title'>): void {
  rows.push({ title, ...result });
  const first = result.measurements[0]?.median;
  for (const { peer, median } of result.measurements) {
    console.log(
      `${title.padEnd(64)} ${peer.padEnd(26)} ${median.toFixed(2).padStart(9)} ms  ${(median / first).toFixed(2)}`,
    );
  }
  for (const { peer, error } of result.failures) console.log(`${title}  ${peer}  failed: ${error}`);
}
