// npm run test:mutations [-- --only TEXT]
//
// Are the tests on the emulated device able to fail? Each mutation below is a mistake that is easily made in a kernel. Each
// is compiled, linked with the rest of the emulated addon, and must be caught, by a report of the emulation or by a
// wrong result. A mutation that survives, or whose text is no longer in the sources, fails the run.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hostTarget } from '@lazy-attention/native/build';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(directory, 'build', `${hostTarget()}-emulated`);

const forward = 'attention_forward.cu';
const grad = 'attention_grad.cu';
const exact = 'attention_exact.cu';
const decode = 'attention_decode.cu';
const matmul = 'matmul.cu';
const tensorAttention = [forward, grad];

// file, what to replace (the `nth` time it occurs, from 0), the tests to run, and, for headers, what to compile.
const TILES = 'tiles:head_64 bf16';
const MUTATIONS = [
  // dropped barriers and waits
  {
    name: 'forward: no barrier before tile t is read',
    file: forward,
    from: '__syncthreads();  // tile t is there for all',
    to: '//',
    run: TILES,
  },
  {
    name: 'forward: no barrier between the passes',
    file: forward,
    from: '  __syncthreads();\n  fetchKeys(firstTile);',
    to: '  fetchKeys(firstTile);',
    run: TILES,
  },
  {
    name: 'forward: no barrier in pass 2',
    file: forward,
    from: '__syncthreads();\n    if (t < lastTile) {\n      fetchKeys(t + 1);\n      fetchValues(t + 1);',
    to: 'if (t < lastTile) {\n      fetchKeys(t + 1);\n      fetchValues(t + 1);',
    run: TILES,
  },
  {
    name: 'forward: pass 1 does not wait for its copies',
    file: forward,
    from: 'copyAsyncWait<0>();',
    to: 'copyAsyncWait<1>();',
    run: TILES,
  },
  {
    name: 'forward: pass 2 does not wait for its copies',
    file: forward,
    from: 'copyAsyncWait<0>();',
    nth: 1,
    to: 'copyAsyncWait<1>();',
    run: TILES,
  },
  {
    name: 'gradient of q: no barrier before dbias is summed',
    file: grad,
    from: 'if (near) {\n      __syncthreads();',
    to: 'if (near) {',
    run: TILES,
  },
  {
    name: 'gradient of k and v: no barrier per step',
    file: grad,
    from: '__syncthreads();\n    if (Shape::stages > 1 && i + 1 < count)',
    to: 'if (Shape::stages > 1 && i + 1 < count)',
    run: TILES,
  },
  {
    name: 'gradient, one stage: refill without a barrier',
    file: grad,
    from: '      __syncthreads();\n      if (i + 1 < count) fetch(i + 1);',
    to: '      if (i + 1 < count) fetch(i + 1);',
    run: 'tiles:head_256 bf16',
  },
  {
    name: 'exact forward: no barrier before weights are read',
    file: exact,
    from: '    store(Buffers<D>::m(), m, y, x);\n    __syncthreads();',
    to: '    store(Buffers<D>::m(), m, y, x);',
    run: 'tiles:exact_head_64',
  },
  {
    name: 'decode: no barrier before weights are read',
    file: decode,
    from: '  __syncthreads();\n  float o[2] = {};',
    to: '  float o[2] = {};',
    run: 'attention f32 decode',
  },
  {
    name: 'matmul: no barrier per step',
    file: matmul,
    from: 'copyAsyncWait<0>();\n    __syncthreads();',
    to: 'copyAsyncWait<0>();',
    run: 'matmul bf16',
  },
  {
    name: 'block sums: scratch reused without a barrier',
    file: '../gpu/target.h',
    from: 'total += scratch[w];\n  __syncthreads();',
    to: 'total += scratch[w];',
    run: 'rmsNorm',
    compile: ['rows.cu'],
  },
  {
    name: 'embedding gradient: no barrier between steps',
    file: 'rows.cu',
    from: '    __syncthreads();\n  }\n#pragma unroll\n  for (int c = 0',
    to: '  }\n#pragma unroll\n  for (int c = 0',
    run: 'tiles:embedding',
  },
  // wrong fragments
  {
    name: 'operand A: columns of the wrong half',
    file: 'tiles.h',
    from: 'unit(row + (lane & 15), column / 8 + (lane >> 4))',
    to: 'unit(row + (lane & 15), column / 8 + (lane & 1))',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'operand B: matrices in the wrong order',
    file: 'tiles.h',
    from: '(lane & 7) + (lane >> 4) * 8, column / 8 + ((lane >> 3) & 1)',
    to: '(lane & 7) + ((lane >> 3) & 1) * 8, column / 8 + (lane >> 4)',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'accumulators packed in the wrong order',
    file: 'tiles.h',
    from: 'a[1] = pack<T>(c[0][2], c[0][3]);\n  a[2] = pack<T>(c[1][0], c[1][1]);',
    to: 'a[2] = pack<T>(c[0][2], c[0][3]);\n  a[1] = pack<T>(c[1][0], c[1][1]);',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'swizzle of the copy differs from that of the reads',
    file: 'tiles.h',
    from: 'copyAsync16(unit(row, c),',
    to: 'copyAsync16(unit(row, c ^ 1),',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'accumulator rows 8 apart stored 4 apart',
    file: 'tiles.h',
    from: 'row + lane / 4 + 8 * half',
    to: 'row + lane / 4 + 4 * half',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'matmul: transposed operand A read as it lies',
    file: matmul,
    from: '.loadATransposed(fa[i], k, r % 64)',
    to: '.loadA(fa[i], k, r % 64)',
    run: 'matmul bf16',
  },
  {
    name: 'row sum leaves out half the quad',
    file: forward,
    from: '      total += shuffleXor(total, 2);\n',
    to: '',
    run: TILES,
  },
  // edges off by one
  {
    name: 'forward: the diagonal is masked',
    file: forward,
    from: 'at <= last[i][e / 2];',
    to: 'at < last[i][e / 2];',
    run: TILES,
  },
  {
    name: 'forward: last key tile missed',
    file: forward,
    from: 'p.position(first + rows - 1) / keyTile;',
    to: '(p.position(first + rows - 1) - 1) / keyTile;',
    run: TILES,
  },
  {
    name: 'forward: a tile on the diagonal taken for plain',
    file: forward,
    from: 'firstPosition - (t * keyTile + keyTile - 1) >= p.window',
    to: 'firstPosition - (t * keyTile + keyTile - 1) + 1 >= p.window',
    run: 'tiles:head_(64|128)_no_bias bf16',
  },
  {
    name: 'forward: the bias window one short',
    file: forward,
    from: 'firstPosition - (t * keyTile + keyTile - 1) >= p.window',
    to: 'firstPosition - (t * keyTile + keyTile - 1) + 32 >= p.window',
    run: TILES,
  },
  {
    name: 'forward: documents ignored by the plain test',
    file: forward,
    from: 't * keyTile >= lastStart &&',
    to: 't * keyTile >= firstStart &&',
    run: 'tiles:head_64_no_bias bf16',
  },
  {
    name: 'copy: one row too few',
    file: 'tiles.h',
    from: 'row < limit && c * 8 < width',
    to: 'row + 1 < limit && c * 8 < width',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'copy: one unit too many per row',
    file: 'tiles.h',
    from: 'c * 8 < width;',
    to: 'c * 8 <= width;',
    run: 'tiles:head_(40|96|200) bf16',
    compile: tensorAttention,
  },
  {
    name: 'gradient of k: first query tile too late',
    file: grad,
    from: '(first - shift) / step : 0;',
    to: '(first - shift + step - 1) / step + 1 : 0;',
    run: 'tiles:head_64_one bf16',
  },
  { name: 'gradient of q: diagonal one row short', file: grad, from: 'r <= to; ++r)', to: 'r < to; ++r)', run: TILES },
  {
    name: 'gradient of k: documents end too early',
    file: grad,
    from: 'p.start(b, endTile * step) < first + rows',
    to: 'p.start(b, endTile * step) < first + 1',
    run: 'tiles:head_64_far bf16',
  },
  {
    name: 'decode: keys before the start attended',
    file: decode,
    from: 'if (j < start) continue;',
    to: '',
    run: 'attention f32 decode_with_left',
  },
  {
    name: 'matmul: last step of k missed',
    file: matmul,
    from: 'const int steps = ceilDiv(z.k, tileK);',
    to: 'const int steps = z.k / tileK;',
    run: 'matmul bf16',
  },
  // wrong mathematics
  {
    name: 'weights: inactive pairs kept',
    file: forward,
    from: 'weight > 0 && (plainTile',
    to: 'weight > -1 && (plainTile',
    run: TILES,
  },
  {
    name: 'gradient: inactive pairs without -p delta',
    file: grad,
    from: 'weight * ((active ? g : 0.0f) - row.delta)',
    to: 'weight * (active ? g - row.delta : 0.0f)',
    run: TILES,
  },
  {
    name: 'gradient: delta from the output',
    file: 'attention.cu',
    from: 'p.a == nullptr ? p.out : p.a',
    to: 'p.out',
    run: TILES,
  },
];

const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, run: { type: 'string' } } });
if (values.run !== undefined) await judge(values.run);
else hunt(MUTATIONS.filter(({ name }) => name.includes(values.only)));

/** Child: exits with 1 at the first case that fails. `tiles:` runs this package's own tests instead of conformance. */
async function judge(which) {
  const { conformanceCases } = await import('@lazy-attention/conformance');
  const { Backend } = await import('@lazy-attention/core');
  const { provider } = await import('@lazy-attention/backend-cuda');
  const backend = new Backend(await provider.create({ device: 'emulated' }));
  const wanted = new RegExp(which.replaceAll(' ', '.*'));
  const cases = conformanceCases({ dtypes: ['f32', 'bf16', 'f16'], size: 'full' }).filter(({ name }) =>
    wanted.test(name),
  );
  if (cases.length === 0) throw new Error(`no case is called '${which}'`);
  for (const { name, run } of cases) {
    try {
      await run(backend);
    } catch (error) {
      // Not console.log, which a pipe may not have taken yet when the process ends.
      writeSync(1, `${name}: ${(error.cause ?? error).message}\n`);
      process.exit(1);
    }
  }
  process.exit(0);
}

function hunt(mutations) {
  if (!existsSync(join(build, 'lazy_cuda_emulated.node')))
    throw new Error('build the emulated device first: npm run build');
  const survivors = [];
  for (const mutation of mutations) {
    const start = performance.now();
    const verdict = tryMutation(mutation);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${verdict.caught ? 'caught  ' : 'SURVIVED'} ${mutation.name} (${seconds} s)\n         ${verdict.how}`);
    if (!verdict.caught) survivors.push(mutation.name);
  }
  console.log(`${mutations.length - survivors.length} of ${mutations.length} mutations caught`);
  process.exit(survivors.length === 0 && mutations.length > 0 ? 0 : 1);
}

function tryMutation({ file, from, to, nth = 0, run, compile = [file] }) {
  const work = mkdtempSync(join(tmpdir(), 'lazy-mutation-'));
  try {
    cpSync(join(directory, 'cpp'), join(work, 'cpp'), { recursive: true });
    const path = join(work, 'cpp', 'kernels', file);
    const source = readFileSync(path, 'utf8');
    const pieces = source.split(from);
    if (pieces.length <= nth + 1) return { caught: false, how: `the sources no longer hold: ${from}` };
    writeFileSync(path, pieces.slice(0, nth + 1).join(from) + to + pieces.slice(nth + 1).join(from));
    const addon = join(work, 'mutant.node');
    link(work, compile, addon);
    return execute(run, addon);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The mutated objects come before the archive, so the archive's own are not taken. */
function link(work, sources, addon) {
  const native = join(directory, '..', 'native', 'include');
  const flags = [
    '-std=c++17',
    '-O1',
    '-fPIC',
    '-fvisibility=hidden',
    '-w',
    '-DLAZY_EMULATED',
    `-I${join(work, 'cpp')}`,
    `-I${native}`,
  ];
  const objects = sources.map((source) => {
    const object = join(work, `${source}.o`);
    command(['-x', 'c++', ...flags, '-c', join(work, 'cpp', 'kernels', source), '-o', object]);
    return object;
  });
  const layer = join(build, 'cmake', 'CMakeFiles', 'lazy_cuda_emulated.dir');
  const rest = readdirSync(layer, { recursive: true }).filter((name) => name.endsWith('.o'));
  const archive = join(build, 'cmake', 'libemulated.a');
  command(['-shared', '-o', addon, ...rest.map((name) => join(layer, name)), ...objects, archive, '-pthread']);
}

function command(args) {
  const { status, stderr } = spawnSync(process.env.CXX ?? 'g++', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`compiler failed: ${stderr}`);
}

function execute(run, addon) {
  const env = { ...process.env, LAZY_ATTENTION_CUDA_EMULATED_ADDON: addon };
  const [first, ...rest] = run.split(' ');
  const tiles = first.startsWith('tiles:');
  const args = tiles
    ? [
        join(directory, '../../node_modules/vitest/vitest.mjs'),
        'run',
        '--bail=1',
        '--root',
        directory,
        'test/tiles.test.ts',
        '-t',
        [first.slice(6), ...rest].join('.*'),
      ]
    : [fileURLToPath(import.meta.url), '--run', run];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env,
    timeout: 120_000,
  });
  const how = (stdout + stderr)
    .split('\n')
    .find((line) =>
      /off by|race:|nobody wrote|outside the|divergent|never waited|the device stopped working/.test(line),
    );
  if (status === 0) return { caught: false, how: 'all tests pass' };
  // A run that fails without saying what is wrong with the kernel has caught nothing; a crash is a guard page's word.
  const crashed = signal !== null || /exited unexpectedly|SIGSEGV/.test(stderr);
  return {
    caught: how !== undefined || crashed,
    how: how?.trim().slice(0, 200) ?? (crashed ? 'crashed' : stderr.slice(-300)),
  };
}
