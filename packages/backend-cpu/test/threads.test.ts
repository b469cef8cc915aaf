import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { Backend, Tensor } from '@lazy-attention/core';
import { expect, test } from 'vitest';
import { cpu, random } from './helpers.ts';

const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));

/** Every op whose sums cross threads. */
function everything(backend: Backend): Tensor[] {
  const [q, k, v, dOutput] = [1, 2, 3, 4].map((seed) => random(backend, [2, 150, 4, 20], seed));
  const bias = random(backend, [4, 70], 5);
  const tau = backend.full([4], -1);
  const { output, saved } = backend.attention(q, k, v, { bias, tau });
  const grads = backend.attentionGrad(dOutput, saved);
  const long = random(backend, [5000, 96], 6);
  const wide = random(backend, [5000, 64], 7);
  const norm = backend.rmsNormGrad(long, long, random(backend, [96], 8));
  const ids = backend.tensor(
    Int32Array.from({ length: 5000 }, (_, i) => (i * 7919) % 96),
    [5000],
  );
  return [
    output,
    ...Object.values(grads).filter((grad) => grad !== undefined),
    backend.matmul(long, wide, { transposeA: true }),
    backend.matmul(wide, long, { transposeA: true }),
    norm.dx,
    norm.dweight,
    backend.sum(long),
    backend.sumSquares([long, wide]),
    backend.crossEntropy(long, ids).loss,
    backend.embeddingGrad(wide, ids, 96),
  ];
}

test.each([1, 2, 3, 5])(
  'results repeat bit for bit with %i threads',
  async (threads) => {
    const backend = await cpu({ threads });
    const results = [];
    for (let run = 0; run < 4; run++) results.push(await Promise.all(everything(backend).map((x) => x.data())));
    const bytes = results.map((run) => Buffer.concat(run.map((x) => Buffer.from(x.buffer))));
    for (const other of bytes.slice(1)) expect(other.equals(bytes[0])).toBe(true);
    await backend.dispose();
  },
  30_000,
);

const WORKER = `
  const { workerData, parentPort } = require('node:worker_threads');
  import(workerData.dist).then(async ({ provider }) => {
    const kernels = await provider.create({ threads: 2 });
    const tensor = (buffer, shape) => ({ buffer, shape, dtype: 'f32' });
    const data = Float32Array.from({ length: 64 * 64 }, (_, i) => ((i * workerData.seed) % 97) / 97 - 0.5);
    let x = tensor(kernels.upload(data, [64, 64], 'f32'), [64, 64]);
    const problem = { batch: 1, m: 64, n: 64, k: 64, transposeA: false, transposeB: true };
    const weight = tensor(kernels.full([64], 1, 'f32'), [64]);
    for (let i = 0; i < 500; i++) {
      const y = kernels.matmul(x, x, problem, null);
      const z = kernels.rmsNorm(tensor(y, [64, 64]), weight, 1e-6);
      kernels.free(x.buffer);
      kernels.free(y);
      x = tensor(z, [64, 64]);
    }
    if (!workerData.wait) {
      parentPort.postMessage('queued');
      return;
    }
    const result = await kernels.read(x);
    await kernels.dispose();
    parentPort.postMessage(result);
  });
`;

function inWorker(seed: number, wait = true): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER, { eval: true, workerData: { dist, seed, wait } });
    let message: unknown;
    worker.on('message', (value) => {
      message = value;
    });
    worker.on('error', reject);
    worker.on('exit', (code) => (code === 0 ? resolve(message) : reject(new Error(`worker exited with ${code}`))));
  });
}

test('two backends in two worker threads work at once and do not disturb each other', async () => {
  const [a, b, a2, b2] = await Promise.all([inWorker(3), inWorker(5), inWorker(3), inWorker(5)]);
  expect(a).toEqual(a2);
  expect(b).toEqual(b2);
  expect(a).not.toEqual(b);
}, 30_000);

test('a worker thread that ends with work queued ends cleanly', async () => {
  expect(await Promise.all([inWorker(3, false), inWorker(5, false)])).toEqual(['queued', 'queued']);
});

const queued = (products: number) => `
  const { provider } = await import(process.argv[1]);
  const kernels = await provider.create({});
  const shape = [1024, 1024];
  const x = { buffer: kernels.full(shape, 1, 'f32'), shape, dtype: 'f32' };
  const problem = { batch: 1, m: 1024, n: 1024, k: 1024, transposeA: false, transposeB: false };
  for (let i = 0; i < ${products}; i++) kernels.matmul(x, x, problem, null);
`;

test.each([
  ['the end of the program', 200, ''],
  ['process.exit', 200, 'process.exit(0);'],
  ['a read that nobody waits for', 200, 'void kernels.read(x); process.exit(0);'],
  ['a dispose that nobody waits for', 200, 'void kernels.dispose(); process.exit(0);'],
  // It lasts until the products are done.
  ['a forgotten read', 20, 'void kernels.read(x);'],
])(
  'a process that ends by %s with work queued exits cleanly',
  async (_, products, end) => {
    const run = promisify(execFile);
    const { stderr } = await run(process.execPath, ['--input-type=module', '-e', queued(products) + end, dist], {
      timeout: 60_000,
    });
    expect(stderr).toBe('');
  },
  60_000,
);

test('launches return at once: the queue works while JavaScript goes on', async () => {
  const backend = await cpu();
  const x = random(backend, [1024, 1024]);
  await x.data();
  const start = performance.now();
  const products = Array.from({ length: 20 }, () => backend.matmul(x, x));
  const launched = performance.now() - start;
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await products[19].data();
  clearInterval(timer);
  const done = performance.now() - start;
  expect(launched).toBeLessThan(done / 2);
  expect(ticks).toBeGreaterThan(3);
  await backend.dispose();
});
