import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createBackend } from '@lazy-attention/core';
import type { OpenedModel, WeightsFormat } from '@lazy-attention/models';
import { disposeParams, generate } from '@lazy-attention/nn';

/** What a program said after a prompt, and when. */
export interface Continued {
  readonly ids: readonly number[];
  /** Until the first token, and until the last, in milliseconds. */
  readonly firstMs: number;
  readonly allMs: number;
}

/** Something that continues ids with the likeliest ones. */
export interface Program {
  readonly name: string;
  continue(prompt: readonly number[], tokens: number): Promise<Continued>;
  close(): Promise<void>;
}

/** This project on the cpu backend. */
export async function ourProgram(opened: OpenedModel, weights: WeightsFormat): Promise<Program> {
  const backend = await createBackend('cpu');
  const { model, params } = await opened.load(backend, { weights });
  return {
    name: `lazy-attention cpu, weights ${weights}, ${(backend.memory().bytes / 1e6).toFixed(0)} MB`,
    continue: (prompt, tokens) =>
      timed(generate(backend, model, params, [prompt], { maxNewTokens: tokens, temperature: 0 }), tokens, ([id]) => id),
    async close() {
      disposeParams(params);
      await backend.dispose();
    },
  };
}

/** What is used of node-llama-cpp. */
interface Llama {
  loadModel(options: object): Promise<LlamaModel>;
  dispose(): Promise<void>;
}
interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
}
interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
}

/** node-llama-cpp on the CPU with as many threads as there are cores; `folder` has it in its node_modules. */
export async function llamaProgram(
  file: string,
  folder: string | undefined,
  contextSize: number,
): Promise<Program | { readonly absent: string }> {
  const threads = availableParallelism();
  let llama: Llama;
  try {
    const from = createRequire(folder === undefined ? import.meta.url : join(resolve(folder), 'package.json'));
    const module = await import(pathToFileURL(from.resolve('node-llama-cpp')).href);
    llama = await module.getLlama({
      gpu: false,
      build: 'never',
      maxThreads: threads,
      logLevel: 'error',
      progressLogs: false,
    });
  } catch (error) {
    return { absent: error instanceof Error ? error.message : String(error) };
  }
  const model = await llama.loadModel({ modelPath: resolve(file) });
  const context = await model.createContext({ contextSize, threads, sequences: 1, batchSize: contextSize });
  const sequence = context.getSequence();
  return {
    name: 'node-llama-cpp',
    async continue(prompt, tokens) {
      await sequence.clearHistory();
      return timed(sequence.evaluate(prompt, { temperature: 0 }), tokens, (id) => id);
    },
    close: () => llama.dispose(),
  };
}

async function timed<T>(drawing: AsyncIterable<T>, tokens: number, idOf: (drawn: T) => number): Promise<Continued> {
  const begin = performance.now();
  const ids: number[] = [];
  let firstMs = 0;
  for await (const drawn of drawing) {
    if (ids.length === 0) firstMs = performance.now() - begin;
    ids.push(idOf(drawn));
    if (ids.length === tokens) break;
  }
  return { ids, firstMs, allMs: performance.now() - begin };
}
