// Runs on the GPU machine: builds, checks, times, and writes one JSON object. A step that fails leaves its error in it.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    authors: { type: 'string' },
    skip: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
  },
});
const [output = 'results.json'] = positionals;
const skipped = new Set(values.skip.split(','));
const results = { started: new Date().toISOString(), steps: {} };

async function step(name, run) {
  if (skipped.has(name)) return;
  const start = performance.now();
  let entry;
  try {
    entry = { ok: true, ...(await run()) };
  } catch (error) {
    entry = { ok: false, error: String(error?.message ?? error).slice(0, 4000) };
  }
  results.steps[name] = { ...entry, seconds: (performance.now() - start) / 1000 };
  writeFileSync(output, JSON.stringify(results, null, 2));
  console.log(
    `${entry.ok ? 'ok    ' : 'FAILED'} ${name} (${results.steps[name].seconds.toFixed(1)} s) ${entry.error ?? ''}`,
  );
}

function command(file, args, options = {}) {
  const done = spawnSync(file, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.status !== 0) {
    const said = `${done.stderr ?? ''}${done.stdout ?? ''}`.slice(-3000);
    throw new Error(
      `${file} ${args.join(' ')} ended with ${done.error?.message ?? done.signal ?? done.status}:\n${said}`,
    );
  }
  return done.stdout;
}

const cuda = join(here, 'node_modules', '@lazy-attention', 'backend-cuda');
const load = (name) => import(name);
const median = (xs) => xs.toSorted((a, b) => a - b)[Math.floor(xs.length / 2)];

// Conformance alone, in a process that compute-sanitizer can watch.
if (values.only === 'conformance') {
  await conformance('small', /attention|matmul|crossEntropy|rmsNorm/);
  process.exit(0);
}

async function backend() {
  const [{ Backend }, { provider }] = await Promise.all([
    load('@lazy-attention/core'),
    load('@lazy-attention/backend-cuda'),
  ]);
  return new Backend(await provider.create({}));
}

async function conformance(size, which = /./) {
  const { conformanceCases, runCases } = await load('@lazy-attention/conformance');
  const device = await backend();
  const cases = conformanceCases({ dtypes: ['f32', 'bf16', 'f16'], size }).filter(({ name }) => which.test(name));
  const done = await runCases(device, cases);
  await device.dispose();
  const failed = done.filter(({ status }) => status === 'failed');
  if (failed.length > 0 || done.length === 0) {
    throw new Error(
      `${failed.length} of ${done.length} failed: ${failed
        .slice(0, 20)
        .map((r) => `${r.case.name}: ${r.message}`)
        .join('\n')}`,
    );
  }
  return { passed: done.length };
}

/** Milliseconds per call: the device runs calls in order, so `count` of them between two waits are timed together. */
async function time(device, run, count = 10, repeats = 11) {
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

async function attention({ B, H, L, D, W = 512, dtype = 'bf16' }) {
  const device = await backend();
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const random = (shape, type) =>
    device.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, normal), shape, type);
  const [q, k, v, dy] = Array.from({ length: 4 }, () => random([B, L, H, D], dtype));
  const bias = device.scale(random([H, W], 'f32'), 0.1);
  const tau = device.full([H], -1);
  const report = { B, H, L, D, W, dtype, device: device.device };
  for (const [name, options] of [
    ['lazy', { bias, tau }],
    ['softmax', {}],
  ]) {
    const inference = () => void device.attention(q, k, v, { ...options, save: false });
    const training = () => {
      const { saved } = device.attention(q, k, v, options);
      device.attentionGrad(dy, saved);
    };
    report[name] = { forward: await time(device, inference), forwardBackward: await time(device, training) };
  }
  await device.dispose();
  return report;
}

async function train() {
  const { adamW, batchTensors, disposeParams, flopsPerToken, lazyTransformer, preset, valueAndGrad } =
    await load('@lazy-attention/nn');
  const [batch, length] = [8, 2048];
  const device = await backend();
  const options = preset('340m', { computeDType: 'bf16', context: length });
  const model = lazyTransformer(options);
  const params = model.init(device, 1);
  const optimizer = adamW(device, params);
  const lossAndGrads = valueAndGrad(device, model.loss);
  const token = () => Int32Array.from({ length: batch * length }, () => Math.floor(Math.random() * 256));
  const losses = [];
  const advance = async () => {
    const data = batchTensors(device, { tokens: token(), targets: token(), starts: null, batch, length });
    const { value, grads } = lossAndGrads(params, data);
    const { gradNormSquared } = optimizer.step(grads, 3e-4);
    losses.push((await value.data())[0]);
    for (const tensor of [value, gradNormSquared, ...Object.values(data)]) tensor?.dispose();
    disposeParams(grads);
  };
  for (let i = 0; i < 3; i++) await advance();
  const times = [];
  for (let i = 0; i < 10; i++) {
    const start = performance.now();
    await advance();
    times.push(performance.now() - start);
  }
  const memory = device.memory();
  await device.dispose();
  const tokensPerSecond = (batch * length) / (median(times) / 1000);
  return {
    batch,
    length,
    medianStepMs: median(times),
    tokensPerSecond,
    tflops: (tokensPerSecond * flopsPerToken(options)) / 1e12,
    losses,
    memory,
  };
}

await step('machine', () => ({
  gpu: command('nvidia-smi', [
    '--query-gpu=name,driver_version,memory.total,compute_cap',
    '--format=csv,noheader',
  ]).trim(),
  nvcc: command('nvcc', ['--version']).trim().split('\n').at(-1),
  node: process.version,
}));
await step('build', () => {
  const out = command(process.execPath, [join(cuda, 'scripts', 'build.mjs'), '--architectures=native'], { cwd: cuda });
  return { output: out.trim() };
});
await step('probe', async () => {
  const found = await (await load('@lazy-attention/backend-cuda')).provider.probe();
  if (!found.available) throw new Error(`${found.reason}; ${found.fix}`);
  return found;
});
await step('conformance', () => conformance('full'));
await step('sanitize', () => {
  const self = fileURLToPath(import.meta.url);
  const report = {};
  for (const tool of ['memcheck', 'racecheck', 'synccheck', 'initcheck']) {
    const args = ['--tool', tool, '--error-exitcode', '9', process.execPath, self, '--only', 'conformance'];
    const { status, stdout, error } = spawnSync('compute-sanitizer', args, {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      timeout: 240_000,
    });
    report[tool] = { status, summary: error?.message ?? stdout?.trim().split('\n').at(-1) };
  }
  if (Object.values(report).some(({ status }) => status !== 0)) throw new Error(JSON.stringify(report));
  return report;
});
for (const [name, shape] of Object.entries({
  'attention 64': { B: 4, H: 16, L: 4096, D: 64 },
  'attention 128': { B: 4, H: 16, L: 4096, D: 128 },
  'attention long': { B: 1, H: 16, L: 16384, D: 64 },
})) {
  await step(name, () => attention(shape));
}
await step('peers', () => {
  const args = [join(here, 'peers.py'), ...(values.authors ? ['--authors', resolve(values.authors)] : [])];
  return JSON.parse(
    command(process.env.PYTHON ?? 'python3', args)
      .trim()
      .split('\n')
      .at(-1),
  );
});
await step('train', train);
if (!existsSync(output)) throw new Error(`nothing was written to ${pathToFileURL(output)}`);
process.exit(Object.values(results.steps).every(({ ok }) => ok) ? 0 : 1);
