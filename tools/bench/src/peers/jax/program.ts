/**
 * Serves peers/jax.ts on the device of its argument, wasm or webgpu: one JSON message per line on stdin, one answer per line on stdout.
 *
 * prepare {case} | run -> {milliseconds, losses?} | dispose
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { lazyTransformer } from '@lazy-attention/nn';
import type { AttentionCase, Case, MatmulCase, TrainCase } from '../../cases.ts';
import { initialParams, STEPS } from '../../recipe.ts';
import { provideGpu } from '../gpu.ts';
import { type Arrays, arrayOf, disposeAll, type Jax, refs } from './api.ts';
import { attentionArrays, lazyAttention } from './attention.ts';
import { trainer } from './model.ts';
import { provideWorkers } from './worker.ts';

interface Work {
  run(): Promise<{ readonly milliseconds: number; readonly losses?: readonly number[] }>;
  dispose(): void;
}

const PACKAGE = '@jax-js/jax';
const [device = 'wasm'] = process.argv.slice(2);

async function start(): Promise<{ jax: Jax; hello: object } | { absent: string }> {
  const threads = provideWorkers();
  if (device === 'webgpu' && !(await provideGpu())) return { absent: "package 'webgpu' does not load" };
  try {
    const jax = (await import(PACKAGE)) as unknown as Jax;
    await jax.init(device);
    jax.defaultDevice(device);
    const manifest = join(dirname(fileURLToPath(import.meta.resolve(PACKAGE))), '../package.json');
    return { jax, hello: { version: JSON.parse(readFileSync(manifest, 'utf8')).version, threads } };
  } catch (error) {
    return { absent: `package '${PACKAGE}' is not installed or does not load: ${error}` };
  }
}

function random(jax: Jax, shape: readonly number[]) {
  const size = shape.reduce((a, b) => a * b, 1);
  return arrayOf(
    jax,
    Float32Array.from({ length: size }, () => Math.random() * 2 - 1),
    shape,
  );
}

async function timed(work: () => Promise<unknown>): Promise<{ milliseconds: number }> {
  const begin = performance.now();
  await work();
  return { milliseconds: performance.now() - begin };
}

function matmulWork(jax: Jax, { m, n, k, transposeA, transposeB }: MatmulCase): Work {
  const operands: Arrays = {
    a: random(jax, transposeA ? [k, m] : [m, k]),
    b: random(jax, transposeB ? [n, k] : [k, n]),
  };
  const product = jax.jit(({ a, b }: Arrays) =>
    jax.numpy.matmul(transposeA ? a.transpose() : a, transposeB ? b.transpose() : b),
  );
  return {
    run: () =>
      timed(async () => {
        const out = product(refs(operands));
        await jax.blockUntilReady(out);
        out.dispose();
      }),
    dispose: () => disposeAll(operands),
  };
}

function attentionWork(jax: Jax, { batch, heads, length, headDim, window, backward }: AttentionCase): Work {
  const shape = [batch, heads, length, headDim];
  const inputs: Arrays = {
    q: random(jax, shape),
    k: random(jax, shape),
    v: random(jax, shape),
    bias: jax.numpy.zeros([heads, window]),
    tau: arrayOf(jax, new Float32Array(heads).fill(-1), [heads]),
  };
  const constants = attentionArrays(jax, length);
  const dOutput = random(jax, shape);
  const attend = (x: Arrays, own: Arrays) => {
    const output = lazyAttention(jax, x as Parameters<typeof lazyAttention>[1], own);
    disposeAll(own);
    return output;
  };
  const weighted = (x: Arrays, own: Arrays, weights: typeof dOutput) => attend(x, own).mul(weights).sum();
  const forward = jax.jit((x: Arrays, own: Arrays) => ({ output: attend(x, own) }));
  const both = jax.jit((x: Arrays, own: Arrays, weights: typeof dOutput) => {
    const [output, grads] = jax.valueAndGrad(weighted)(x, own, weights);
    return { output, ...grads };
  });
  return {
    run: () =>
      timed(async () => {
        const out = backward
          ? both(refs(inputs), refs(constants), dOutput.ref)
          : forward(refs(inputs), refs(constants));
        await jax.blockUntilReady(out);
        disposeAll(out);
      }),
    dispose: () => disposeAll(inputs, constants, { dOutput }),
  };
}

async function trainWork(jax: Jax, task: TrainCase): Promise<Work> {
  const { config } = lazyTransformer(task.model);
  const { step, params, dispose } = trainer(jax, task, await initialParams(config));
  return {
    async run() {
      const losses: number[] = [];
      const { milliseconds } = await timed(async () => {
        // Each step is awaited, as jax-js advises: what is queued holds its memory.
        for (let i = 0; i < STEPS; i++) losses.push(Number((await step().data())[0]));
        await jax.blockUntilReady(params());
      });
      return { milliseconds: milliseconds / STEPS, losses };
    },
    dispose,
  };
}

async function prepare(jax: Jax, task: Case): Promise<Work> {
  switch (task.kind) {
    case 'matmul':
      return matmulWork(jax, task);
    case 'attention':
      return attentionWork(jax, task);
    case 'train':
      return trainWork(jax, task);
    case 'decode':
      throw new Error('jax-js has no key/value cache here');
  }
}

const started = await start();
const say = (message: object) => console.log(JSON.stringify(message));
if ('absent' in started) {
  say(started);
} else {
  const { jax, hello } = started;
  say(hello);
  let work: Work | null = null;
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line) as { command: string };
    try {
      if (message.command === 'prepare') work = await prepare(jax, message as unknown as Case);
      if (message.command === 'dispose') work?.dispose();
      say((message.command === 'run' && (await work?.run())) || {});
    } catch (error) {
      say({ error: String(error) });
    }
  }
}
// jax-js has no way to end its workers, which would keep this process alive.
process.exit();
