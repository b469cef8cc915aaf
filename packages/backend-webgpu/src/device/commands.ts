import type { DeviceBuffer } from './buffers.ts';
import { USAGE } from './buffers.ts';
import type { Faults } from './faults.ts';
import { PARAMETER_BYTES } from './parameters.ts';
import type { CompiledKernel } from './pipelines.ts';

/** Dispatches per submit. A training step of a small model has a few hundred; drivers dislike endless command lists. */
const MAX_DISPATCHES = 2048;

/** Counters since the start: kernels queued, and batches sent. */
export interface CommandStats {
  dispatches: number;
  submits: number;
}

/**
 * The open batch: one command encoder, one compute pass, and the parameters of its dispatches. Parameters are written
 * to host memory while encoding and travel in one `writeBuffer` per submit, which the queue orders before the batch.
 */
export class Commands {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #slotBytes: number;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #floats: Float32Array;
  readonly #slotWords: number;
  readonly uniforms: GPUBuffer;
  readonly stats: CommandStats = { dispatches: 0, submits: 0 };
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  /** The op whose debug group is open in the pass: errors in encoding are reported by that name. */
  #group: string | null = null;
  #slot = 0;
  #batch = 0;

  constructor(device: GPUDevice, faults: Faults) {
    this.#device = device;
    this.#faults = faults;
    this.#slotBytes = Math.max(PARAMETER_BYTES, device.limits.minUniformBufferOffsetAlignment);
    this.#slotWords = this.#slotBytes / 4;
    this.#words = new Uint32Array(MAX_DISPATCHES * this.#slotWords);
    this.#floats = new Float32Array(this.#words.buffer);
    this.uniforms = device.createBuffer({
      label: 'kernel parameters',
      size: this.#words.byteLength,
      usage: USAGE.UNIFORM | USAGE.COPY_DST,
    });
  }

  /** Number of the open batch; grows with every submit. */
  get batch(): number {
    return this.#batch;
  }

  /** Encodes one dispatch for `op`; `params` has a value for each of the kernel's. */
  dispatch(
    op: string,
    kernel: CompiledKernel,
    bindGroup: GPUBindGroup,
    params: Readonly<Record<string, number>>,
    grid: Grid,
  ): void {
    if (this.#slot === MAX_DISPATCHES) this.submit();
    const slot = this.#slot++;
    kernel.writeParams(this.#words, this.#floats, slot * this.#slotWords, params);
    const pass = this.#openPass();
    if (op !== this.#group) {
      if (this.#group !== null) pass.popDebugGroup();
      pass.pushDebugGroup(op);
      this.#group = op;
    }
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, bindGroup, [slot * this.#slotBytes]);
    pass.dispatchWorkgroups(grid[0], grid[1] ?? 1, grid[2] ?? 1);
    this.stats.dispatches++;
  }

  copy(from: DeviceBuffer, to: GPUBuffer, bytes: number): void {
    this.#closePass();
    this.#openEncoder().copyBufferToBuffer(from.gpu, 0, to, 0, bytes);
  }

  /** Sends the batch to the device. Returns without waiting. */
  submit(): void {
    if (this.#encoder === null) return;
    this.#closePass();
    const encoder = this.#encoder;
    this.#encoder = null;
    this.#faults.watch('submit', () => {
      const commands = encoder.finish();
      if (this.#slot > 0)
        this.#device.queue.writeBuffer(this.uniforms, 0, this.#words, 0, this.#slot * this.#slotWords);
      this.#device.queue.submit([commands]);
    });
    this.#slot = 0;
    this.#batch++;
    this.stats.submits++;
  }

  #openEncoder(): GPUCommandEncoder {
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  #openPass(): GPUComputePassEncoder {
    this.#pass ??= this.#openEncoder().beginComputePass();
    return this.#pass;
  }

  #closePass(): void {
    if (this.#group !== null) this.#pass?.popDebugGroup();
    this.#group = null;
    this.#pass?.end();
    this.#pass = null;
  }
}

/** Workgroups in x, y, z. */
export type Grid = readonly [number, number?, number?];
