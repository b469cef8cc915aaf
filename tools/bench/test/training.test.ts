import { fileURLToPath } from 'node:url';
import { type Backend, createBackend } from '@lazy-attention/core';
import { lazyTransformer } from '@lazy-attention/nn';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TrainCase } from '../src/cases.ts';
import { FLAGS } from '../src/peers/jax.ts';
import { trainer } from '../src/peers/lazy.ts';
import { startServer } from '../src/peers/server.ts';
import { trainer as tfjsTrainer } from '../src/peers/tfjs/model.ts';
import { openTfjs } from '../src/peers/tfjs.ts';
import { initialParams, STEPS } from '../src/recipe.ts';

// An odd context and a window narrower than it: the peers' bias tables have to get both right, and the bias, 0 at first, has to
// move far enough for that to show.
const task: TrainCase = {
  kind: 'train',
  model: { vocabSize: 32, hiddenSize: 32, numLayers: 2, numHeads: 2, context: 15, window: 6 },
  batch: 2,
  learningRate: 0.05,
};
const PROGRAM = fileURLToPath(new URL('../dist/peers/jax/program.js', import.meta.url));

let backend: Backend | null = null;
let absent = '';
const expected: number[] = [];

beforeAll(async () => {
  backend = await createBackend('cpu').catch((error: Error) => {
    absent = error.message;
    return null;
  });
  if (backend === null) return;
  const { step, dispose } = trainer(backend, task);
  for (let i = 0; i < 2 * STEPS; i++) {
    const loss = step();
    expected.push((await loss.data())[0]);
    loss.dispose();
  }
  dispose();
});
afterAll(() => backend?.dispose());

function expectSame(losses: readonly number[]): void {
  for (const [i, loss] of losses.entries()) expect(Math.abs(loss - expected[i])).toBeLessThan(2e-4);
}

test('TensorFlow.js trains the same model: its losses are ours', async ({ skip }) => {
  if (backend === null) return skip(absent);
  const tf = await openTfjs('wasm');
  if ('absent' in tf) return skip(tf.absent);
  const { config } = lazyTransformer(task.model);
  const { step, dispose } = tfjsTrainer(tf, task, await initialParams(config));
  const losses: number[] = [];
  for (let i = 0; i < 2 * STEPS; i++) {
    const loss = step();
    losses.push((await loss.data())[0]);
    loss.dispose();
  }
  dispose();
  expectSame(losses);
});

test('jax-js trains the same model: its losses are ours', async ({ skip }) => {
  if (backend === null) return skip(absent);
  const server = await startServer(process.execPath, [...FLAGS, PROGRAM]);
  try {
    if (server.hello === null) throw new Error(`${PROGRAM} ended at its start`);
    if (typeof server.hello.absent === 'string') return skip(server.hello.absent);
    await server.ask({ command: 'prepare', ...task });
    const [first, second] = [await server.ask({ command: 'run' }), await server.ask({ command: 'run' })];
    expectSame([...(first.losses as number[]), ...(second.losses as number[])]);
  } finally {
    server.stop();
  }
});
