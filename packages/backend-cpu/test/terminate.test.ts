import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

// What ends while work is under way ends alone. Everything runs in child processes: what fails here aborts its process.

const run = promisify(execFile);
const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));

/** What a worker does for ever; `x` is a square matrix, `n` its width. */
const BUSY = {
  ops: "for (;;) for (let i = 0; i < 50; i++) kernels.free(kernels.binary(x, x, 'add', view));",
  'ops and waiting for them':
    'for (;;) { kernels.free(kernels.matmul(x, x, problem, null)); await kernels.synchronize(); }',
  reads: 'for (;;) await Promise.all(Array.from({ length: 20 }, () => kernels.read(x)));',
  uploads: `for (;;) {
    for (let i = 0; i < 5; i++) kernels.free(kernels.upload(new Float32Array(n * n), [n, n], 'f32'));
    await kernels.synchronize();
  }`,
  'forgetting tensors':
    "for (;;) { for (let i = 0; i < 50; i++) kernels.binary(x, x, 'add', view); await kernels.read(x); }",
  'refused ops': `for (;;) try { kernels.full([2 ** 60], 0, 'f32'); } catch {}`,
  'creating and disposing': `for (;;) { const other = await provider.create({ threads: 2 }); await other.dispose(); }`,
};

const TERMINATE = `
  const { Worker } = require('node:worker_threads');
  const [dist, busy] = process.argv.slice(1);
  const source = \`
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.dist).then(async ({ provider }) => {
      const kernels = await provider.create({ threads: 2 });
      const { n } = workerData;
      const x = { buffer: kernels.full([n, n], 0.01, 'f32'), shape: [n, n], dtype: 'f32' };
      const problem = { batch: 1, m: n, n, k: n, transposeA: false, transposeB: true };
      const view = { shape: [n, n], sizes: [n * n], stridesA: [1], stridesB: [1] };
      parentPort.postMessage('busy');
      \${busy}
    });\`;
  (async () => {
    for (let round = 0; round < 12; round++) {
      await new Promise((resolve, reject) => {
        const worker = new Worker(source, { eval: true, workerData: { dist, n: [8, 64, 256][round % 3] } });
        worker.on('error', reject);
        worker.on('message', () => setTimeout(() => worker.terminate(), (round * 7) % 20));
        worker.on('exit', resolve);
      });
    }
    const { provider } = await import(dist);
    const kernels = await provider.create({});
    const buffer = kernels.full([3], 7, 'f32');
    console.log(String(await kernels.read({ buffer, shape: [3], dtype: 'f32' })));
  })();
`;

describe('a worker thread that is terminated ends alone, and the process goes on', () => {
  test.each(Object.entries(BUSY))(
    'during %s',
    async (_, busy) => {
      const { stdout } = await run(process.execPath, ['-e', TERMINATE, dist, busy], { timeout: 300_000 });
      expect(stdout.trim()).toBe('7,7,7');
    },
    300_000,
  );
});

const DISPOSED = `
  const { provider } = await import(process.argv[1]);
  const kernels = await provider.create({});
  const x = { buffer: kernels.full([4], 1, 'f32'), shape: [4], dtype: 'f32' };
  const settled = await Promise.allSettled([kernels.read(x), kernels.dispose(), kernels.dispose(), kernels.read(x)]);
  console.log(settled.map(({ status, reason }) => reason?.name ?? status).join(' '));
`;

test('every promise is settled: reads of before and after dispose, and dispose called twice', async () => {
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', DISPOSED, dist], { timeout: 60_000 });
  expect(stdout.trim()).toBe('fulfilled fulfilled fulfilled DeviceLostError');
}, 60_000);

const CROWD = `
  const { ceilings, provider } = await import(process.argv[1]);
  const tell = ({ name, message, fix }) => console.log(JSON.stringify([name, message, fix ?? '']));
  await provider.create({ threads: 1024 }).catch(tell);
  await ceilings({ threads: 1024, bytes: 1 << 16 }).catch(tell);
  const kernels = await provider.create({ threads: 2 });
  const buffer = kernels.full([3], 7, 'f32');
  console.log(JSON.stringify(String(await kernels.read({ buffer, shape: [3], dtype: 'f32' }))));
`;

/** What CROWD tells under a limit of the shell's. */
async function crowd(limit: string): Promise<unknown[]> {
  const shell = `ulimit ${limit} || exit 9; exec "$0" --input-type=module -e "$1" "$2"`;
  const { stdout } = await run('/bin/sh', ['-c', shell, process.execPath, CROWD, dist], { timeout: 120_000 });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

describe.skipIf(process.platform !== 'linux')('threads that cannot be started (limits as Linux has them)', () => {
  const tooFew = [
    'BackendUnavailableError',
    expect.stringMatching(/the system started \d+ of 1024 threads: /),
    expect.stringMatching(/^ask for fewer with the option threads or LAZY_ATTENTION_THREADS, or raise the limit/),
  ];

  test('under a limit of address space: a typed error with their number and what to do, and the backend works', async () => {
    expect(await crowd('-v 8000000')).toEqual([tooFew, tooFew, '7,7,7']);
  }, 120_000);

  test('with too little memory even for their scratch', async () => {
    const noScratch = [
      'OutOfMemoryError',
      expect.stringMatching(/^create: .*scratch of 1024 threads \(1073741824 bytes\); ask for fewer/),
      '',
    ];
    expect(await crowd('-v 2000000')).toEqual([noScratch, tooFew, '7,7,7']);
  }, 120_000);
});
