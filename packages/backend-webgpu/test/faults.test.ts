import { DeviceLostError, DisposedError, OutOfMemoryError, UnsupportedError } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { type AdapterChoice, chooseAdapter, openDevice } from '../src/device/adapter.ts';
import { BufferPool, type DeviceBuffer } from '../src/device/buffers.ts';
import { DeviceValidationError, Faults } from '../src/device/faults.ts';
import { Runtime } from '../src/device/runtime.ts';
import { nodeSource } from '../src/source.node.ts';
import { kernel, type NoVariant, write } from '../src/wgsl/kernel.ts';
import { open, unavailable } from './support.ts';

/** A kernel of one buffer, to break in different ways. */
const oneBuffer = (name: string, body: string) =>
  kernel({
    name,
    params: { count: 'u32' },
    text: (_: NoVariant) => ({ buffers: { out: write('f32') }, workgroupSize: 64, body }),
  });
const good = oneBuffer('good', 'if (lane < params.count) { out[lane] = 3; }');
const broken = oneBuffer('broken', 'out[lane] = no_such_thing;');
const on = (out: DeviceBuffer, workgroups = 1) => ({
  buffers: { out },
  params: { count: 64 },
  grid: [workgroups] as const,
});

async function device(): Promise<{ choice: AdapterChoice; device: GPUDevice; runtime: () => Runtime }> {
  const choice = await chooseAdapter(nodeSource, undefined);
  const { device, capabilities } = await openDevice(choice);
  return { choice, device, runtime: () => new Runtime(choice, device, capabilities) };
}

const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => new Error('no error'),
    (error) => error,
  );

describe.skipIf(unavailable !== null)(`faults${unavailable === null ? '' : `: ${unavailable}`}`, () => {
  test('a shader that does not compile is an error of the op, each time it is used, and other ops go on', async () => {
    const runtime = (await device()).runtime();
    runtime.begin('full');
    const out = runtime.acquire(256);
    for (let i = 0; i < 2; i++) {
      runtime.begin('swiglu');
      runtime.run(broken, {}, on(out));
      const error = await failure(runtime.read(out, 256));
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toMatch(
        /^swiglu: the shader 'broken' does not compile on this driver\. Update .* driver says: /,
      );
      expect(error.message).toContain('no_such_thing');
    }
    runtime.begin('full');
    runtime.run(good, {}, on(out));
    expect(new Float32Array(await runtime.read(out, 256))).toEqual(new Float32Array(64).fill(3));
    runtime.dispose();
  });

  test('a command that WebGPU rejects is an error of the op that encoded it', async () => {
    const runtime = (await device()).runtime();
    runtime.begin('add');
    const out = runtime.acquire(256);
    runtime.run(good, {}, on(out));
    runtime.begin('attentionGrad');
    runtime.run(good, {}, on(out, 2 ** 20));
    runtime.begin('mul');
    runtime.run(good, {}, on(out));
    const error = await failure(runtime.synchronize());
    expect(error).toBeInstanceOf(DeviceValidationError);
    expect(error).toMatchObject({ code: 'DEVICE_VALIDATION', op: 'attentionGrad' });
    expect(error.message).toMatch(/^attentionGrad: WebGPU rejected a command: .*1048576/);
    runtime.run(good, {}, on(out));
    expect(new Float32Array(await runtime.read(out, 16))).toEqual(new Float32Array(4).fill(3));
    runtime.dispose();
  });

  test('an error that no scope caught reaches the next wait', async () => {
    const { choice, device: gpu } = await device();
    const faults = new Faults(gpu, choice.name);
    gpu.createBuffer({ size: 16, usage: 0x1 | 0x2 | 0x80 });
    await gpu.queue.onSubmittedWorkDone();
    const error = await failure(faults.settle('test'));
    expect(error).toBeInstanceOf(DeviceValidationError);
    expect(error.message).toMatch(/^webgpu: WebGPU rejected a command: /);
    await faults.settle('test');
    faults.expectLoss();
    gpu.destroy();
  });

  test('uncaught errors of memory and of the driver have types of their own', async () => {
    class GPUOutOfMemoryError extends Error {}
    class GPUInternalError extends Error {}
    const gpu = new EventTarget() as unknown as GPUDevice;
    Object.assign(gpu, { lost: new Promise(() => {}) });
    const faults = new Faults(gpu, 'fake');
    for (const [error, type, text] of [
      [new GPUOutOfMemoryError('heap is full'), OutOfMemoryError, 'webgpu: the device is out of memory: heap is full'],
      [
        new GPUInternalError('compiler crashed\n\nDebug group stack:\n > "rope\0"\n'),
        UnsupportedError,
        'rope: the driver failed.',
      ],
    ] as const) {
      gpu.dispatchEvent(Object.assign(new Event('uncapturederror'), { error }) as Event);
      const reported = await failure(faults.settle('test'));
      expect(reported).toBeInstanceOf(type);
      expect(reported.message).toContain(text);
    }
  });

  test('memory that the device refuses is a typed error of the op, and nobody gets that buffer', async () => {
    const { choice, device: gpu } = await device();
    const faults = new Faults(gpu, choice.name);
    // One binding never exhausts a device, so the pool is told that bindings may be enormous.
    const bytes = 2 ** 50;
    const limits = { maxBufferSize: bytes, maxStorageBufferBindingSize: bytes };
    const createBuffer = (descriptor: GPUBufferDescriptor) =>
      gpu.createBuffer({ ...descriptor, size: descriptor.size > 2 ** 40 ? gpu.limits.maxBufferSize : descriptor.size });
    const bound = { limits, createBuffer } as unknown as GPUDevice;
    const pool = new BufferPool(bound, faults, () => {});
    const idle = pool.acquire(1024, 'zeros');
    pool.release(idle);
    const refused: ReturnType<typeof pool.acquire>[] = [];
    let error: Error | null = null;
    for (let i = 0; i < 256 && error === null; i++) {
      refused.push(pool.acquire(bytes, 'matmul'));
      error = await faults.settle('test').then(
        () => null,
        (each) => each,
      );
    }
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', requestedBytes: bytes });
    expect(error?.message).toMatch(
      /^matmul: could not allocate 1125899906842624 bytes on the device, beside \d+ in use/,
    );
    const last = refused[refused.length - 1];
    pool.release(last);
    expect(pool.acquire(bytes, 'matmul')).not.toBe(last);
    await failure(faults.settle('test'));
    pool.trim();
    expect(pool.stats.idleBytes).toBe(0);
    faults.expectLoss();
    gpu.destroy();
  });

  test('what is pending at dispose is a typed error, and so is every later op', async () => {
    const { backend, kernels } = await open();
    const x = backend.full([64, 64], 1);
    const pending = [failure(backend.matmul(x, x).data()), failure(kernels.synchronize())];
    await kernels.dispose();
    const [data, synchronize] = await Promise.all(pending);
    expect(data).toBeInstanceOf(DisposedError);
    expect(data.message).toMatch(/^data: the backend webgpu was disposed of before/);
    expect(synchronize).toBeInstanceOf(DisposedError);
    expect(() => kernels.full([2], 1, 'f32')).toThrow(DisposedError);
  });

  test('a lost device is a typed error of every later op, and a new backend works in the same process', async () => {
    const { backend, kernels } = await open();
    const x = backend.full([4], 1);
    await x.data();
    kernels.loseDevice();
    const error = await failure(backend.add(x, x).data());
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/^webgpu: the device '.+' was lost \(.+\).*create a new backend/s);
    expect(() => backend.add(x, x)).toThrow(DeviceLostError);
    await expect(kernels.synchronize()).rejects.toThrow(DeviceLostError);
    x.dispose();
    await backend.dispose();
    const next = await open();
    expect(await next.backend.full([2], 5).data()).toEqual(new Float32Array([5, 5]));
    await next.backend.dispose();
  });
});
