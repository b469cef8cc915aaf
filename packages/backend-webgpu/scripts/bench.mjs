// Figures of docs/benchmarks/webgpu.md: `node scripts/bench.mjs [what] [module of jax-js]`, after a build.
// `what`: all, gemm, attention, training. Every figure is the least of a few repetitions after one that warms up.
import { pathToFileURL } from 'node:url';
import { Backend } from '@lazy-attention/core';
import { adamW, batchTensors, disposeParams, lazyTransformer, valueAndGrad } from '@lazy-attention/nn';
import { create, globals } from 'webgpu';
import { chooseAdapter, openDevice } from '../dist/device/adapter.js';
import { Runtime } from '../dist/device/runtime.js';
import { provider } from '../dist/index.js';
import { chooseTile } from '../dist/ops/matmul.js';
import { nodeSource } from '../dist/source.node.js';
import { gemm } from '../dist/wgsl/gemm.js';

const [what = 'all', jaxModule] = process.argv.slice(2);
const wants = (name) => what === 'all' || what === name;

async function best(repetitions, run) {
  const start = performance.now();
  await run();
  const first = performance.now() - start;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repetitions; i++) {
    const begin = performance.now();
    await run();
    least = Math.min(least, performance.now() - begin);
  }
  return { first, least };
}

const report = (name, { first, least }, extra = '') =>
  console.log(
    `${name.padEnd(60)} ${least.toFixed(0).padStart(6)} ms   first ${first.toFixed(0).padStart(6)} ms   ${extra}`,
  );

const random = (count) => Float32Array.from({ length: count }, () => Math.random() * 2 - 1);

async function benchGemm() {
  const choice = await chooseAdapter(nodeSource, undefined);
  const { device, capabilities } = await openDevice(choice);
  const runtime = new Runtime(choice, device, capabilities);
  const elements = 1024 ** 2;
  const [a, b] = [runtime.upload(random(elements)), runtime.upload(random(elements))];
  const out = runtime.acquire(4 * elements);
  for (const [layout, transposeA, transposeB, batch, m, n, k] of [
    ['A.B', false, false, 1, 1024, 1024, 1024],
    ['A.Bt', false, true, 1, 1024, 1024, 1024],
    ['At.B', true, false, 1, 1024, 1024, 1024],
    ['At.Bt', true, true, 1, 1024, 1024, 1024],
    ['A.B, batch of 16 x 256 x 256 x 256', false, false, 16, 256, 256, 256],
    ['A.Bt, batch of 16 x 256 x 256 x 256', false, true, 16, 256, 256, 256],
    ['At.B, batch of 16 x 256 x 256 x 256', true, false, 16, 256, 256, 256],
  ]) {
    const tiles = {
      'plain 64x64 tile': { tileM: 64, tileN: 64, staged: true, depth: 16, threadM: 4, threadN: 4 },
      'tile of this adapter': chooseTile({ m, n }, capabilities.software),
    };
    for (const [name, tile] of Object.entries(tiles)) {
      const variant = { transposeA, transposeB, type: 'f32', tile, aligned: true, partial: false, accumulate: false };
      const time = await best(3, async () => {
        const grid = [Math.ceil(n / tile.tileN), Math.ceil(m / tile.tileM), batch];
        const strides = { aStride: transposeA ? m : k, bStride: transposeB ? k : n };
        const params = { m, n, k, ...strides, splits: 1, kPerSplit: k };
        runtime.run(gemm, variant, { buffers: { a, b, out }, params, grid });
        await runtime.synchronize();
      });
      report(
        `gemm ${batch === 1 ? '1024^3 ' : ''}${layout}, ${name}`,
        time,
        `${((2 * batch * m * n * k) / time.least / 1e6).toFixed(2)} GFLOP/s`,
      );
    }
  }
  runtime.dispose();
}

const [B, L, H, D, W] = [1, 1024, 4, 64, 512];

async function benchAttention() {
  const kernels = await provider.create({});
  const backend = new Backend(kernels);
  console.log(`adapter: ${kernels.device}`);
  const tensor = () => backend.tensor(random(B * L * H * D), [B, L, H, D]);
  const [q, k, v, dOutput] = [tensor(), tensor(), tensor(), tensor()];
  const options = { bias: backend.tensor(random(H * W), [H, W]), tau: backend.full([H], -1) };
  report(
    'attention (1,4,1024,64) forward',
    await best(3, async () => {
      const { output } = backend.attention(q, k, v, { ...options, save: false });
      await kernels.synchronize();
      output.dispose();
    }),
  );
  report(
    'attention (1,4,1024,64) forward+backward',
    await best(3, async () => {
      const { output, saved } = backend.attention(q, k, v, options);
      const grads = backend.attentionGrad(dOutput, saved);
      await kernels.synchronize();
      for (const each of [output, saved, ...Object.values(grads)]) each?.dispose();
    }),
  );
  await backend.dispose();
}

/** The same op composed and jitted in jax-js, on the same adapter. */
async function benchJaxAttention() {
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu: create([]), userAgent: 'node', hardwareConcurrency: 2 },
    configurable: true,
  });
  const jax = await import(pathToFileURL(jaxModule).href);
  await jax.init('webgpu');
  jax.defaultDevice('webgpu');
  const { numpy: np, nn, jit, grad } = jax;
  const causal = Float32Array.from({ length: L * L }, (_, at) => (at % L <= Math.floor(at / L) ? 0 : -1e9));
  const inside = Float32Array.from({ length: L * L }, (_, at) => (at % L <= Math.floor(at / L) ? 1 : 0));
  const counts = Float32Array.from({ length: L }, (_, i) => 1 / (i + 1));
  const array = (values, shape) => np.array(values).reshape(shape);
  const mask = array(causal, [1, L, L]);
  const attended = array(inside, [1, L, L]);
  const inverse = array(counts, [1, L, 1]);
  const operand = () => array(random(H * L * D), [H, L, D]);
  // The bias as a dense [H, L, L] term: gathering it per distance would only add to the peer's time.
  const lazy = (q, k, v, bias) => {
    const scores = np
      .matmul(q, np.transpose(k, [0, 2, 1]))
      .mul(1 / Math.sqrt(D))
      .add(bias)
      .add(mask.ref);
    const p = nn.softmax(scores, -1);
    return np.matmul(nn.relu(p.sub(inverse.ref)).mul(attended.ref), v);
  };
  const [q, k, v] = [operand(), operand(), operand()];
  const bias = array(random(H * L * L), [H, L, L]);
  const forward = jit(lazy);
  report(
    'jax-js, composed and jitted: forward',
    await best(2, async () => {
      const out = forward(q.ref, k.ref, v.ref, bias.ref);
      await out.blockUntilReady();
      out.dispose();
    }),
  );
  const both = jit(grad((q, k, v, bias) => lazy(q, k, v, bias).sum(), { argnums: [0, 1, 2] }));
  report(
    'jax-js, composed and jitted: forward+backward',
    await best(2, async () => {
      const grads = both(q.ref, k.ref, v.ref, bias.ref);
      for (const each of [grads].flat()) {
        await each.blockUntilReady();
        each.dispose();
      }
    }),
  );
}

async function benchTraining() {
  const kernels = await provider.create({});
  const backend = new Backend(kernels);
  const [batch, length] = [8, 128];
  const model = lazyTransformer({ vocabSize: 256, hiddenSize: 128, numLayers: 2, numHeads: 4, context: length });
  const params = model.init(backend, 1);
  const optimizer = adamW(backend, params);
  const lossAndGrads = valueAndGrad(backend, model.loss);
  const ids = () => Int32Array.from({ length: batch * length }, () => Math.floor(Math.random() * 256));
  const before = kernels.stats();
  let steps = 0;
  const time = await best(3, async () => {
    const data = batchTensors(backend, {
      tokens: ids(),
      targets: ids(),
      starts: new Int32Array(batch * length),
      batch,
      length,
    });
    const { value, grads } = lossAndGrads(params, data);
    const { gradNormSquared } = optimizer.step(grads, 1e-3);
    await value.data();
    for (const each of [value, gradNormSquared, ...Object.values(data)]) each?.dispose();
    disposeParams(grads);
    steps++;
  });
  const after = kernels.stats();
  report(
    'training step, 2 layers, 128 wide, batch 8 x 128',
    time,
    `${(((batch * length) / time.least) * 1000).toFixed(0)} tokens/s, ${(after.dispatches - before.dispatches) / steps} dispatches, ` +
      `${(after.submits - before.submits) / steps} submits a step, ${after.pipelines} pipelines`,
  );
  await backend.dispose();
}

/** JavaScript time of an op, from the checks of core to the encoded command. */
async function benchOverhead() {
  const kernels = await provider.create({});
  const backend = new Backend(kernels);
  const [a, b] = [backend.full([64, 64], 1), backend.full([64, 64], 1)];
  const ops = { add: () => backend.add(a, b), matmul: () => backend.matmul(a, b), swiglu: () => backend.swiglu(a, b) };
  for (const [name, op] of Object.entries(ops)) {
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 10; round++) {
      const start = performance.now();
      for (let i = 0; i < 1000; i++) op().dispose();
      least = Math.min(least, performance.now() - start);
      await kernels.synchronize();
    }
    console.log(`JavaScript time of ${name}, core included: ${least.toFixed(2)} microseconds`);
  }
  await backend.dispose();
}

if (wants('overhead')) await benchOverhead();
if (wants('gemm')) await benchGemm();
if (wants('attention')) await benchAttention();
if ((what === 'jax' || wants('attention')) && jaxModule !== undefined) await benchJaxAttention();
if (wants('training')) await benchTraining();
process.exit(0);
