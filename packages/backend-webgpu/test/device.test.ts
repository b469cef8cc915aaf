import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { UnsupportedError, ValueError } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { bucketSize } from '../src/device/buffers.ts';
import { BackendUnavailableError, open, unavailable } from './support.ts';

const run = promisify(execFile);

const BUILT = JSON.stringify(new URL('../dist/index.js', import.meta.url).href);
const CORE = JSON.stringify(import.meta.resolve('@lazy-attention/core'));

/** Runs `code` in a fresh Node with the package's provider at hand, and parses what it prints. */
async function inNode(code: string, env: Record<string, string>): Promise<Record<string, unknown>> {
  const script = `import { provider } from ${BUILT};\n${code}`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  return JSON.parse(stdout);
}

test('sizes of pooled buffers waste at most a quarter and hold whole vec4s', () => {
  for (const bytes of [1, 256, 257, 1000, 4096, 5000, 2 ** 20 + 1, 123_456_789]) {
    const size = bucketSize(bytes);
    expect(size).toBeGreaterThanOrEqual(bytes);
    expect(size).toBeLessThanOrEqual(Math.max(256, bytes * 1.25 + 16));
    expect(size % 16).toBe(0);
    expect(bucketSize(size)).toBe(size);
  }
});

describe.skipIf(unavailable !== null)(`on a device${unavailable === null ? '' : `: ${unavailable}`}`, () => {
  test('the adapter is chosen by kind or by name, and an unknown one is listed against', async () => {
    const { backend } = await open();
    const { device } = backend;
    await backend.dispose();
    const part = device.slice(0, 6);
    const named = await open({ adapter: part });
    expect(named.backend.device).toBe(device);
    await named.backend.dispose();
    const error = await open({ adapter: 'no such adapter' }).catch((reason) => reason);
    expect(error).toBeInstanceOf(BackendUnavailableError);
    expect(error.message).toContain("no adapter matches 'no such adapter'");
    expect(error.message).toContain(part);
    await expect(open({ adaptor: 'x' } as never)).rejects.toThrow(ValueError);
    await expect(open({ adapter: 7 } as never)).rejects.toThrow(ValueError);
  });

  test('LAZY_ATTENTION_WEBGPU_ADAPTER picks, and the process ends by itself after dispose', async () => {
    const code = `const result = await provider.probe(); console.log(JSON.stringify(result));`;
    const result = await inNode(code, { LAZY_ATTENTION_WEBGPU_ADAPTER: 'no such adapter' });
    expect(result.available).toBe(false);
    expect(result.reason).toContain('no such adapter');
  });

  test('a worker thread ends as the README has it, and the process goes on', async () => {
    const worker = `
      import { parentPort } from 'node:worker_threads';
      import { Backend } from ${CORE};
      import { provider } from ${BUILT};
      const backend = new Backend(await provider.create({}));
      let stop = false;
      const work = async () => {
        const x = backend.full([64, 64], 1);
        for (let step = 0; !stop; step++) {
          const y = backend.matmul(x, x);
          await y.data();
          y.dispose();
          if (step === 3) parentPort.postMessage('working');
        }
      };
      const finished = work();
      parentPort.on('message', async () => {
        stop = true;
        await finished;
        await backend.dispose();
        parentPort.close();
      });`;
    const code = `
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(worker)})), { stderr: true });
      let said = '';
      worker.stderr.on('data', (text) => { said += text; });
      const ended = once(worker, 'exit');
      await once(worker, 'message');
      worker.postMessage('stop');
      const [exit] = await ended;
      const result = await provider.probe();
      console.log(JSON.stringify({ exit, said, available: result.available }));`;
    const { exit, said, available } = await inNode(code, {});
    expect({ exit, available }).toEqual({ exit: 0, available: true });
    expect(said).toMatch(/LAZY_ATTENTION_WEBGPU_WORKER.*worker\.terminate\(\) during its work aborts the process/);
  });

  test('a tensor beyond one binding is refused with the limit', async () => {
    const { backend, kernels } = await open();
    const error = (() => {
      try {
        kernels.full([2 ** 31 - 4], 0, 'f32');
        return null;
      } catch (reason) {
        return reason;
      }
    })();
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(String(error)).toMatch(/full: a tensor of \d+ bytes .*maxStorageBufferBindingSize/);
    expect(await backend.full([3], 2).data()).toEqual(new Float32Array([2, 2, 2]));
    await backend.dispose();
  });

  test('uploads do not overtake work that is encoded but not submitted', async () => {
    const { backend } = await open();
    const first = backend.tensor(new Float32Array(64).fill(1), [64]);
    const sum = backend.add(first, first);
    first.dispose();
    // Takes a buffer of the size that was just freed, which the queued addition still reads.
    const second = backend.tensor(new Float32Array(64).fill(7), [64]);
    expect((await sum.data())[5]).toBe(2);
    expect((await second.data())[5]).toBe(7);
    await backend.dispose();
  });

  test('memory of attention grows with L, not L x L: 8192 tokens within 128 MiB', async () => {
    const { backend, kernels } = await open();
    const shape = [1, 8192, 1, 64];
    // Buffers are made when ops are called; running them here would take minutes on a software adapter.
    const [q, k, v] = [backend.zeros(shape), backend.zeros(shape), backend.zeros(shape)];
    const bias = backend.zeros([1, 512]);
    const tau = backend.full([1], -1);
    const { output, saved } = backend.attention(q, k, v, { bias, tau });
    const grads = backend.attentionGrad(output, saved);
    expect(grads.dq.shape).toEqual(shape);
    expect(kernels.stats().peakBytes).toBeLessThan(128 * 2 ** 20);
    await backend.dispose();
  });
});
