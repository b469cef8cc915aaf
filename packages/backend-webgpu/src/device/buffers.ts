import { OutOfMemoryError, UnsupportedError } from '@lazy-attention/core';
import type { Faults } from './faults.ts';

// GPUBufferUsage is a global in browsers only; these values are fixed by the WebGPU specification.
export const USAGE = { MAP_READ: 0x1, COPY_SRC: 0x4, COPY_DST: 0x8, UNIFORM: 0x40, STORAGE: 0x80 } as const;

/** A piece of device memory: the handle that core keeps for a tensor, and what the pool recycles. */
export interface DeviceBuffer {
  readonly gpu: GPUBuffer;
  readonly id: number;
  /** Bytes, a bucket size: at least what was asked for, and a multiple of 16, so that kernels may read whole vec4s. */
  readonly size: number;
  /** Batch of commands (see commands.ts) that last used the buffer. */
  lastBatch: number;
  /** The device refused it: nobody may have it next. */
  failed: boolean;
}

/** Counters of the pool. */
export interface BufferStats {
  /** Bytes that tensors, saved attentions and running ops hold. */
  liveBytes: number;
  /** Bytes kept for reuse. */
  idleBytes: number;
  peakBytes: number;
  /** Buffers created since the start; flat in a steady loop. */
  created: number;
}

/** Idle memory that is always worth keeping. */
const IDLE_FLOOR = 64 * 2 ** 20;

/** Sizes in steps of a quarter of a power of two, so that at most 25 % is wasted and buffers find a next user. */
export function bucketSize(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / step) * step;
}

/**
 * Recycles storage buffers by size. A freed buffer may be handed out again at once, although work that reads it is
 * still queued: commands run in order. The exception is `queue.writeBuffer`, which overtakes commands that are encoded
 * but not submitted; uploads therefore take only buffers that the open batch has not touched.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #maxBytes: number;
  readonly #idle = new Map<number, DeviceBuffer[]>();
  readonly #onDestroy: () => void;
  readonly stats: BufferStats = { liveBytes: 0, idleBytes: 0, peakBytes: 0, created: 0 };
  #nextId = 1;
  /** The device refused a buffer; what is idle is given back at the next chance. */
  #short = false;

  constructor(device: GPUDevice, faults: Faults, onDestroy: () => void) {
    this.#device = device;
    this.#faults = faults;
    this.#maxBytes = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    this.#onDestroy = onDestroy;
  }

  /** A buffer with undefined contents. `untouchedSince`: take only one that this batch has not used. */
  acquire(bytes: number, op: string, untouchedSince?: number): DeviceBuffer {
    if (bytes > this.#maxBytes) {
      throw new UnsupportedError(
        `${op}: a tensor of ${bytes} bytes does not fit into one WebGPU binding; this adapter allows ${this.#maxBytes} ` +
          '(maxStorageBufferBindingSize). Use a smaller batch or vocabulary, a shorter context, or dtype f16',
      );
    }
    const size = Math.min(bucketSize(bytes), Math.floor(this.#maxBytes / 16) * 16);
    const buffer = this.#takeIdle(size, untouchedSince) ?? this.#create(size, op);
    this.stats.liveBytes += size;
    this.stats.peakBytes = Math.max(this.stats.peakBytes, this.stats.liveBytes);
    return buffer;
  }

  release(buffer: DeviceBuffer): void {
    this.stats.liveBytes -= buffer.size;
    if (buffer.failed) return;
    this.stats.idleBytes += buffer.size;
    const list = this.#idle.get(buffer.size);
    if (list === undefined) this.#idle.set(buffer.size, [buffer]);
    else list.push(buffer);
  }

  /**
   * Destroys idle buffers, largest first, until what is kept is in proportion to what was needed at the peak. Called
   * right after a submit, when no unsubmitted command refers to any of them.
   */
  trim(): void {
    const limit = this.#short ? 0 : this.stats.peakBytes * 1.25 + IDLE_FLOOR - this.stats.liveBytes;
    this.#short = false;
    if (this.stats.idleBytes <= limit) return;
    for (const size of [...this.#idle.keys()].sort((a, b) => b - a)) {
      const list = this.#idle.get(size) ?? [];
      while (list.length > 0 && this.stats.idleBytes > limit) {
        list.shift()?.gpu.destroy();
        this.stats.idleBytes -= size;
      }
      if (list.length === 0) this.#idle.delete(size);
    }
    this.#onDestroy();
  }

  #takeIdle(size: number, untouchedSince: number | undefined): DeviceBuffer | undefined {
    const list = this.#idle.get(size);
    if (list === undefined || list.length === 0) return undefined;
    // The most recently freed one is warm in the caches; an upload wants the one that has rested longest.
    if (untouchedSince !== undefined && list[0].lastBatch >= untouchedSince) return undefined;
    this.stats.idleBytes -= size;
    return untouchedSince === undefined ? list.pop() : list.shift();
  }

  #create(size: number, op: string): DeviceBuffer {
    const gpu = this.#faults.watch(
      op,
      () =>
        this.#device.createBuffer({
          label: `${op} (${size} bytes)`,
          size,
          usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST,
        }),
      (message) => {
        buffer.failed = true;
        this.#short = true;
        return new OutOfMemoryError(
          `${op}: could not allocate ${size} bytes on the device, beside ${this.stats.liveBytes} in use. Use a smaller ` +
            `batch or a shorter context, or dispose of tensors earlier. The device says: ${message}`,
          size,
        );
      },
    );
    this.stats.created++;
    const buffer: DeviceBuffer = { gpu, id: this.#nextId++, size, lastBatch: -1, failed: false };
    return buffer;
  }
}
