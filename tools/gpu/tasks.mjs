// node tasks.mjs NAME JSON: one task, in a process of its own. Prints what it finds as it goes, a JSON object a line.
import { provider } from '@lazy-attention/backend-cuda';
import { conformanceCases, runCases } from '@lazy-attention/conformance';
import { Backend } from '@lazy-attention/core';

const say = (entry) => console.log(JSON.stringify(entry));
const median = (xs) => xs.toSorted((a, b) => a - b)[Math.floor(xs.length / 2)];
const open = async (options = {}) => new Backend(await provider.create(options));
const product = (shape) => shape.reduce((a, b) => a * b, 1);
const emulated = process.env.LAZY_ATTENTION_CUDA_DEVICE === 'emulated';

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
/** Drawing tens of millions of normals takes a minute: these few, from a place that changes. */
const NORMALS = Float32Array.from({ length: 65_537 }, normal);
const random = (device, shape, dtype) => {
  const first = Math.floor(Math.random() * NORMALS.length);
  const draw = (_, i) => NORMALS[(first + i * 7919) % NORMALS.length];
  return device.tensor(Float32Array.from({ length: product(shape) }, draw), shape, dtype);
};

/** The same normals over and over, for billions of numbers whose values do not matter. */
const tiled = (count) => {
  const values = new Float32Array(count);
  for (let at = 0; at < count; at += NORMALS.length) values.set(NORMALS.subarray(0, count - at), at);
  return values;
};

/** Milliseconds per call: the device runs calls in order, so `count` of them between two waits are timed together. */
async function time(device, run, { count = 10, repeats = 11 }) {
  const once = async () => {
    const start = performance.now();
    for (let i = 0; i < count; i++) device.scope(run);
    await device.synchronize();
    return (performance.now() - start) / count;
  };
  await once();
  const times = [];
  for (let i = 0; i < repeats; i++) times.push(await once());
  return { medianMs: median(times), minMs: Math.min(...times), maxMs: Math.max(...times) };
}

async function timeAttention(device, { B, H, L, D, W, ...often }, dtype) {
  const [q, k, v, dy] = Array.from({ length: 4 }, () => random(device, [B, L, H, D], dtype));
  const bias = device.scale(random(device, [H, W], 'f32'), 0.1);
  const tau = device.full([H], -1);
  say({ shape: { B, H, L, D, W }, dtype, device: device.device });
  for (const [name, options] of [
    ['lazy', { bias, tau }],
    ['softmax', {}],
  ]) {
    const inference = () => void device.attention(q, k, v, { ...options, save: false });
    const training = () => {
      const { saved } = device.attention(q, k, v, options);
      device.attentionGrad(dy, saved);
    };
    const forward = await time(device, inference, often);
    say({ [name]: { forward } });
    say({ [name]: { forward, forwardBackward: await time(device, training, often) } });
  }
  say({ ran: device.launches() });
}

async function judge(device, cases) {
  const done = await runCases(device, cases);
  const failed = done.filter(({ status }) => status === 'failed');
  say({ cases: done.length, passed: done.filter(({ status }) => status === 'passed').length });
  if (failed.length > 0 || done.length === 0) {
    const messages = failed.slice(0, 20).map((result) => `${result.case.name}: ${result.message}`);
    throw new Error(`${failed.length} of ${done.length} failed: ${messages.join('\n')}`);
  }
}

/** A step of training on random tokens, ready to be repeated. */
async function trainer(device, options, batch, length) {
  const { adamW, batchTensors, disposeParams, lazyTransformer, valueAndGrad } = await import('@lazy-attention/nn');
  const model = lazyTransformer(options);
  const params = model.init(device, 1);
  const optimizer = adamW(device, params);
  const lossAndGrads = valueAndGrad(device, model.loss);
  let state = 1;
  const token = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % 256;
  };
  return async () => {
    const tokens = Int32Array.from({ length: batch * length + 1 }, token);
    const data = batchTensors(device, {
      tokens: tokens.slice(0, -1),
      targets: tokens.slice(1),
      starts: null,
      batch,
      length,
    });
    const { value, grads } = lossAndGrads(params, data);
    const { gradNormSquared } = optimizer.step(grads, 3e-4);
    const loss = (await value.data())[0];
    for (const tensor of [value, gradNormSquared, ...Object.values(data)]) tensor?.dispose();
    disposeParams(grads);
    return loss;
  };
}

/** Parameters of a model in `dtype` whose values do not matter: drawing those of `init` takes most of a minute. */
async function someParams(device, model, dtype) {
  const { castParams, disposeParams } = await import('@lazy-attention/nn');
  const drawn = Object.entries(model.shapes).map(([name, shape]) => {
    if (shape.length === 1) return [name, device.full(shape, name.endsWith('tau') ? -1 : 1)];
    return [name, device.scope(() => device.scale(device.tensor(tiled(product(shape)), shape), 0.02))];
  });
  const params = Object.fromEntries(drawn);
  const cast = castParams(device, params, dtype);
  disposeParams(params);
  return cast;
}

/** Milliseconds per token of each of `repeats` generations, from the first token to the last. */
async function timeTokens(device, model, params, prompts, tokens, repeats) {
  const { generate } = await import('@lazy-attention/nn');
  const times = [];
  for (let i = 0; i < repeats; i++) {
    let [first, last] = [0, 0];
    for await (const _ of generate(device, model, params, prompts, { maxNewTokens: tokens, temperature: 0 })) {
      last = performance.now();
      first ||= last;
    }
    times.push((last - first) / (tokens - 1));
  }
  return times;
}

const TASKS = {
  async probe() {
    const found = await provider.probe();
    say(found);
    if (!found.available) throw new Error(`${found.reason}; ${found.fix}`);
    const device = await open();
    say({ device: device.device });
    await device.dispose();
  },

  async conformance({ size, only = '.' }) {
    const { tileCases } = await import('./tile-cases.mjs');
    const which = new RegExp(only);
    const shared = conformanceCases({ dtypes: ['f32', 'bf16', 'f16'], size });
    const cases = [...shared, ...tileCases].filter(({ name }) => which.test(name));
    const device = await open();
    await judge(device, cases);
    await device.dispose();
  },

  async attention(shape) {
    const device = await open();
    await timeAttention(device, shape, 'bf16');
    await device.dispose();
  },

  /** Products of square matrices, by cuBLASLt and by our own kernel. A figure is given only for the product that is named. */
  async products({ size, ...often }) {
    for (const [name, options] of [
      ['own', emulated ? {} : { cublas: 'off' }],
      ['cublasLt', emulated ? {} : { cublas: 'required' }],
    ]) {
      const device = await open(options);
      const [a, b] = [random(device, [size, size], 'bf16'), random(device, [size, size], 'bf16')];
      const times = await time(device, () => void device.matmul(a, b), often);
      const ran = device.launches();
      const right = ran[name === 'own' ? 'matmul cublasLt' : 'matmul own'] === 0;
      if (!right && !emulated) throw new Error(`${name} was asked for; what ran is ${JSON.stringify(ran)}`);
      say({ [name]: { ...times, tflops: (2 * size ** 3) / times.medianMs / 1e9, device: device.device, ran } });
      await device.dispose();
    }
  },

  /** Training throughput; with half the batch where the device has not the memory. */
  async train({ preset: name, batch, length, dtype, steps = 10 }) {
    const { flopsPerToken, preset } = await import('@lazy-attention/nn');
    const { OutOfMemoryError } = await import('@lazy-attention/core');
    const options = preset(name, { computeDType: dtype, context: length });
    for (let size = batch; ; size = Math.floor(size / 2)) {
      const device = await open();
      try {
        const advance = await trainer(device, options, size, length);
        const [losses, times] = [[], []];
        for (let i = 0; i < 3; i++) losses.push(await advance());
        for (let i = 0; i < steps; i++) {
          const start = performance.now();
          losses.push(await advance());
          times.push(performance.now() - start);
          const tokensPerSecond = (size * length) / (median(times) / 1000);
          const tflops = (tokensPerSecond * flopsPerToken(options)) / 1e12;
          say({ batch: size, length, medianStepMs: median(times), tokensPerSecond, tflops, losses });
        }
        say({ memory: device.memory() });
        return;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || size === 1) throw error;
        say({ outOfMemory: `${error.message} (batch ${size})` });
      } finally {
        await device.dispose();
      }
    }
  },

  /** Time of a token, and what reading the weights and the cache once would take at 3.35 TB/s. */
  async generate({ preset: name, batches, length, tokens, dtype, repeats = 3 }) {
    const { lazyTransformer, preset } = await import('@lazy-attention/nn');
    const device = await open();
    const model = lazyTransformer(preset(name, { computeDType: dtype, context: length + tokens }));
    const { numLayers, numKvHeads, headDim, vocabSize, tieEmbeddings } = model.config;
    const params = await someParams(device, model, dtype);
    say({ device: device.device, fused: device.decoder !== undefined, memory: device.memory() });
    // Of the embedding a token reads a row, unless it is the LM head too.
    const isRead = ([parameter]) => parameter !== 'model.embeddings.weight' || tieEmbeddings;
    const weights = Object.entries(model.shapes).filter(isRead);
    const weightBytes = 2 * weights.reduce((sum, [, shape]) => sum + product(shape), 0);
    const keyBytes = 2 * 2 * numLayers * numKvHeads * headDim * (length + tokens / 2);
    for (const batch of batches) {
      const prompts = Array.from({ length: batch }, (_, row) =>
        Array.from({ length }, (_, i) => (row * 131 + i * 7) % vocabSize),
      );
      const times = await timeTokens(device, model, params, prompts, tokens, repeats);
      const trafficMs = ((weightBytes + batch * keyBytes) / 3.35e12) * 1e3;
      const tokensPerSecond = (1000 * batch) / median(times);
      say({ [`batch ${batch}`]: { medianMs: median(times), minMs: Math.min(...times), trafficMs, tokensPerSecond } });
    }
    await device.dispose();
  },

  /** Losses of `pico` in f32 against the reference's. */
  async pico({ steps }) {
    const { provider: reference } = await import('@lazy-attention/backend-reference');
    const { preset } = await import('@lazy-attention/nn');
    const losses = [];
    for (const device of [new Backend(await reference.create({})), await open()]) {
      const advance = await trainer(device, preset('pico'), 1, 64);
      const curve = [];
      for (let i = 0; i < steps; i++) curve.push(await advance());
      losses.push(curve);
      await device.dispose();
    }
    const [expected, actual] = losses;
    const largest = Math.max(...actual.map((loss, i) => Math.abs(loss / expected[i] - 1)));
    say({ steps, largestRelativeDifference: largest, first: expected[0], last: expected.at(-1) });
    if (!(largest < 1e-3)) throw new Error(`losses differ by ${largest} relative; at most 1e-3 is allowed`);
  },

  /** WebGPU through Vulkan on the same device. */
  async webgpu(shape) {
    const { provider: webgpu } = await import('@lazy-attention/backend-webgpu');
    say(await webgpu.probe());
    const device = new Backend(await webgpu.create({}));
    say({ device: device.device, dtypes: [...device.dtypes] });
    await timeAttention(device, shape, device.dtypes.has('f16') ? 'f16' : 'f32');
    const dtypes = ['f32', 'f16'].filter((dtype) => device.dtypes.has(dtype));
    const cases = conformanceCases({ dtypes, size: 'small' }).filter(({ op }) => !emulated || op === 'add');
    await judge(device, cases);
    await device.dispose();
  },
};

const [name, argument = '{}'] = process.argv.slice(2);
try {
  await TASKS[name](JSON.parse(argument));
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
