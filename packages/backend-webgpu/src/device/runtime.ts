import type { Kernel } from '../wgsl/kernel.ts';
import type { AdapterChoice } from './adapter.ts';
import { BufferPool, bucketSize, type DeviceBuffer, USAGE } from './buffers.ts';
import type { Capabilities } from './capabilities.ts';
import { Commands, type Grid } from './commands.ts';
import { DeviceValidationError, Faults } from './faults.ts';
import { Pipelines } from './pipelines.ts';

/** Counters of a backend since it was created; bytes are bytes of GPU buffers. */
export interface WebGPUStats {
  /** Bytes that tensors, saved attentions and running ops hold now. */
  readonly liveBytes: number;
  /** Bytes of freed buffers that are kept for reuse. */
  readonly idleBytes: number;
  /** Most bytes that were ever alive. */
  readonly peakBytes: number;
  /** Buffers that were allocated; flat in a steady loop. */
  readonly buffersCreated: number;
  /** Kernels that were queued. */
  readonly dispatches: number;
  /** Batches of commands that were sent to the device. */
  readonly submits: number;
  /** Shaders that were compiled. */
  readonly pipelines: number;
}

/** What one dispatch works on, by the names in the kernel. */
export interface Dispatch<B extends string, P extends string> {
  readonly buffers: Readonly<Record<B, DeviceBuffer>>;
  readonly params: Readonly<Record<P, number>>;
  readonly grid: Grid;
}

/** One device with its buffers, pipelines and open batch of commands. Ops are written against this. */
export class Runtime {
  readonly capabilities: Capabilities;
  // Held because Dawn needs the objects that the device came from to stay alive.
  readonly choice: AdapterChoice;
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #pool: BufferPool;
  readonly #commands: Commands;
  readonly #pipelines: Pipelines;
  readonly #staging = new Map<number, GPUBuffer[]>();
  readonly #constants = new Map<string, DeviceBuffer>();
  #op = 'create';

  constructor(choice: AdapterChoice, device: GPUDevice, capabilities: Capabilities) {
    this.capabilities = capabilities;
    this.choice = choice;
    this.#device = device;
    this.#faults = new Faults(device, choice.name);
    this.#commands = new Commands(device, this.#faults);
    this.#pipelines = new Pipelines(device, this.#faults, this.#commands.uniforms, capabilities);
    this.#pool = new BufferPool(device, this.#faults, () => this.#pipelines.forgetBindGroups());
  }

  /** Starts an op: later errors carry its name. Throws when the device is gone. */
  begin(op: string): void {
    this.#op = op;
    this.#faults.assertAlive(op);
  }

  /** A buffer of at least `bytes`, contents undefined. */
  acquire(bytes: number): DeviceBuffer {
    return this.#pool.acquire(bytes, this.#op);
  }

  release(buffer: DeviceBuffer): void {
    this.#pool.release(buffer);
  }

  /** Queues one dispatch of a kernel's variant. */
  run<V extends object, B extends string, P extends string>(
    kernel: Kernel<V, B, P>,
    variant: V,
    { buffers, params, grid }: Dispatch<B, P>,
  ): void {
    const compiled = this.#pipelines.get(this.#op, kernel, variant);
    const group = this.#pipelines.bindGroup(compiled, buffers);
    this.#commands.dispatch(this.#op, compiled, group, params, grid);
    const batch = this.#commands.batch;
    for (const name in buffers) buffers[name].lastBatch = batch;
  }

  /** Stands where a kernel binds an input that is absent and not read. */
  absent(): DeviceBuffer {
    return this.constant('absent', () => new Float32Array(4));
  }

  upload(data: ArrayBufferView<ArrayBuffer>): DeviceBuffer {
    const buffer = this.#pool.acquire(data.byteLength, this.#op, this.#commands.batch);
    // writeBuffer wants a multiple of 4 bytes; only f16 data of odd length is not.
    if (data.byteLength % 4 === 0) {
      this.#device.queue.writeBuffer(buffer.gpu, 0, data.buffer, data.byteOffset, data.byteLength);
    } else {
      const padded = new Uint8Array(data.byteLength + 2);
      padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      this.#device.queue.writeBuffer(buffer.gpu, 0, padded);
    }
    return buffer;
  }

  /** Data that depends on `key` alone, uploaded once and kept until the backend goes. */
  constant(key: string, make: () => ArrayBufferView<ArrayBuffer>): DeviceBuffer {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const buffer = this.upload(make());
    this.#constants.set(key, buffer);
    return buffer;
  }

  /** Submits, waits, and copies `bytes` bytes out. The only readback there is. */
  async read(buffer: DeviceBuffer, bytes: number): Promise<ArrayBuffer> {
    const size = bucketSize(bytes);
    const staging = this.#staging.get(size)?.pop() ?? this.#createStaging(size);
    this.#commands.copy(buffer, staging, Math.ceil(bytes / 4) * 4);
    buffer.lastBatch = this.#commands.batch;
    this.flush();
    try {
      await staging.mapAsync(1, 0, Math.ceil(bytes / 8) * 8);
    } catch (error) {
      await this.#lossIsReported();
      await this.#faults.settle('data');
      throw new DeviceValidationError('data', error instanceof Error ? error.message : String(error));
    }
    await this.#faults.settle('data');
    const copy = staging.getMappedRange(0, Math.ceil(bytes / 8) * 8).slice(0, bytes);
    staging.unmap();
    const list = this.#staging.get(size);
    if (list === undefined) this.#staging.set(size, [staging]);
    else list.push(staging);
    return copy;
  }

  /** Submits what is encoded, without waiting. */
  flush(): void {
    this.#commands.submit();
    this.#pool.trim();
  }

  async synchronize(): Promise<void> {
    this.flush();
    await this.#device.queue.onSubmittedWorkDone();
    await this.#faults.settle('synchronize');
  }

  loseDevice(): void {
    this.#device.destroy();
  }

  dispose(): void {
    this.#faults.expectLoss();
    this.#device.destroy();
  }

  stats(): WebGPUStats {
    const { liveBytes, idleBytes, peakBytes, created } = this.#pool.stats;
    const { dispatches, submits } = this.#commands.stats;
    return {
      liveBytes,
      idleBytes,
      peakBytes,
      buffersCreated: created,
      dispatches,
      submits,
      pipelines: this.#pipelines.size,
    };
  }

  #createStaging(size: number): GPUBuffer {
    return this.#device.createBuffer({ label: 'read', size, usage: USAGE.MAP_READ | USAGE.COPY_DST });
  }

  /** A failed map is often the first sign of a loss; `device.lost` resolves in a later task. */
  async #lossIsReported(): Promise<void> {
    await Promise.race([this.#device.lost, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
}
