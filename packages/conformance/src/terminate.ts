import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

/** What a worker does for ever; `x` is a square matrix, `n` its width. */
const BUSY: Readonly<Record<string, string>> = {
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
  'creating and disposing': `for (;;) { const other = await provider.create(options); await other.dispose(); }`,
};

const PROGRAM = `
  const { Worker } = require('node:worker_threads');
  const [module, busy, options, widths] = process.argv.slice(1);
  const source = \`
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.module).then(async ({ provider }) => {
      const { n, options } = workerData;
      const kernels = await provider.create(options);
      const x = { buffer: kernels.full([n, n], 0.01, 'f32'), shape: [n, n], dtype: 'f32' };
      const problem = { batch: 1, m: n, n, k: n, transposeA: false, transposeB: true };
      const view = { shape: [n, n], sizes: [n * n], stridesA: [1], stridesB: [1] };
      parentPort.postMessage('busy');
      \${busy}
    });\`;
  (async () => {
    for (let round = 0; round < 12; round++) {
      const n = JSON.parse(widths)[round % 3];
      await new Promise((resolve, reject) => {
        const worker = new Worker(source, { eval: true, workerData: { module, n, options: JSON.parse(options) } });
        worker.on('error', reject);
        worker.on('message', () => setTimeout(() => worker.terminate(), (round * 7) % 20));
        worker.on('exit', resolve);
      });
    }
    const { provider } = await import(module);
    const kernels = await provider.create(JSON.parse(options));
    const buffer = kernels.full([3], 7, 'f32');
    console.log(String(await kernels.read({ buffer, shape: [3], dtype: 'f32' })));
  })();
`;

/** What `runTermination` is about. */
export interface TerminationOptions {
  /** URL of the built module whose `provider` makes the kernels. */
  readonly module: string;
  /** For its `create`. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Widths of the square matrices that are computed with; default 8, 64 and 256. */
  readonly widths?: readonly [number, number, number];
}

/**
 * Registers tests in which worker threads are terminated while a backend works: each ends alone, and the process goes on. They run
 * in child processes, since what fails aborts its process.
 */
export function runTermination({ module, options = {}, widths = [8, 64, 256] }: TerminationOptions): void {
  describe('a worker thread that is terminated ends alone, and the process goes on', () => {
    test.each(Object.entries(BUSY))(
      'during %s',
      async (_, busy) => {
        const args = ['-e', PROGRAM, module, busy, JSON.stringify(options), JSON.stringify(widths)];
        const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 1_500_000 });
        expect(stdout.trim()).toBe('7,7,7');
      },
      1_800_000,
    );
  });
}
