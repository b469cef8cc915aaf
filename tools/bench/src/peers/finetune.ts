import { fileURLToPath } from 'node:url';
import { type Backend, createBackend } from '@lazy-attention/core';
import type { OpenedModel } from '@lazy-attention/models';
import { type AttentionKind, type LazyTransformerConfig, lazyTransformer, type Params } from '@lazy-attention/nn';
import { trainerOf } from './lazy.ts';
import { startServer } from './server.ts';

/** Tokens [batch, length] and the one after each. */
export interface FinetuneBatch {
  readonly batch: number;
  readonly length: number;
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
}

/** Something that fine-tunes a model, always on the same batch. */
export interface Finetuner {
  readonly name: string;
  /** Forward, backward and AdamW with clipping; the loss is from before the update. */
  step(): Promise<{ readonly milliseconds: number; readonly loss: number }>;
  close(): Promise<void>;
}

export const LEARNING_RATE = 1e-5;

/** Of this project's programs. */
export function ourName(attention: AttentionKind, computeDType: LazyTransformerConfig['computeDType']): string {
  return `lazy-attention cpu ${attention} ${computeDType ?? 'f32'}`;
}

/** This project on the cpu backend, as `train --from MODEL --attention KIND` begins. */
export async function ourFinetuner(
  opened: OpenedModel,
  attention: AttentionKind,
  computeDType: LazyTransformerConfig['computeDType'],
  { batch, length, tokens, targets }: FinetuneBatch,
): Promise<Finetuner | { readonly absent: string }> {
  const backend = await createBackend('cpu');
  if (computeDType !== null && !backend.dtypes.has(computeDType)) {
    await backend.dispose();
    return { absent: `backend 'cpu' has no ${computeDType}` };
  }
  const window = Math.min(opened.config.window, length);
  const model = lazyTransformer({ ...opened.config, attention, computeDType, window, context: length });
  const params = withStatistics(backend, model.shapes, (await opened.load(backend)).params);
  const host = { tokens, targets, starts: null, batch, length };
  const trainer = trainerOf(backend, model, params, host, LEARNING_RATE);
  return {
    name: ourName(attention, computeDType),
    async step() {
      const start = performance.now();
      const value = trainer.step();
      const [loss] = await value.data();
      value.dispose();
      await backend.synchronize();
      return { milliseconds: performance.now() - start, loss };
    },
    async close() {
      trainer.dispose();
      await backend.dispose();
    },
  };
}

/** A softmax model's parameters with the bias and tau of a lazy one at 0, which is the same function. */
function withStatistics(backend: Backend, shapes: Readonly<Record<string, readonly number[]>>, params: Params): Params {
  const entries = Object.entries(shapes).map(([name, shape]) => [name, params[name] ?? backend.zeros(shape)] as const);
  return Object.fromEntries(entries);
}

const PROGRAM = fileURLToPath(new URL('../../src/peers/torch_peer.py', import.meta.url));

/** PyTorch on the same weights, in f32 and in bf16 by autocast: one model in one process of Python, with sdpa. */
export async function torchFinetuners(
  file: string,
  { batch, tokens, targets }: FinetuneBatch,
): Promise<readonly Finetuner[] | { readonly absent: string }> {
  const command = process.env.LAZY_ATTENTION_PYTHON ?? 'python3';
  const python = await startServer(command, [PROGRAM]);
  const { hello } = python;
  if (hello === null) return { absent: `${command} cannot run torch_peer.py` };
  if (typeof hello.absent === 'string') return { absent: hello.absent };
  return [false, true].map((autocast) => ({
    name: `PyTorch ${hello.version} sdpa ${autocast ? 'bf16 autocast' : 'f32'}`,
    async step() {
      const [ids, next] = [Array.from(tokens), Array.from(targets)];
      const task = { kind: 'finetune', file, autocast, batch, tokens: ids, targets: next, learningRate: LEARNING_RATE };
      await python.ask({ command: 'prepare', ...task });
      const { milliseconds, loss } = await python.ask({ command: 'run' });
      return { milliseconds: milliseconds as number, loss: loss as number };
    },
    close: async () => python.stop(),
  }));
}
