import {
  DeviceLostError,
  DisposedError,
  LazyAttentionError,
  OutOfMemoryError,
  UnsupportedError,
} from '@lazy-attention/core';

type OutOfMemory = (message: string) => LazyAttentionError;

/** The device rejected a command: a bug of this package or of the driver. `op` names what was running. */
export class DeviceValidationError extends LazyAttentionError {
  /** Name of the op that encoded the command; 'submit' where the device does not tell. */
  readonly op: string;

  /** `message` is what the device says. */
  constructor(op: string, message: string) {
    super('DEVICE_VALIDATION', `${op}: WebGPU rejected a command: ${message}`);
    this.op = op;
  }
}

/** The op whose commands an error is about: each op's are a debug group (commands.ts), which Dawn and Chromium report. */
function opOf(message: string): string | undefined {
  return /Debug group stack:\s*> "([^"\0]+)/.exec(message)?.[1];
}

/** An error that no scope caught; `op` may be unknown. The classes are globals in browsers only, hence by name. */
function uncaptured(error: GPUError): LazyAttentionError {
  const op = opOf(error.message) ?? 'webgpu';
  switch (error.constructor.name) {
    case 'GPUOutOfMemoryError':
      return new OutOfMemoryError(`${op}: the device is out of memory: ${error.message}`, 0);
    case 'GPUInternalError':
      return driverFailed(op, error.message);
    default:
      return new DeviceValidationError(op, error.message);
  }
}

function driverFailed(op: string, message: string): UnsupportedError {
  return new UnsupportedError(
    `${op}: the driver failed. Update the graphics driver, or choose another adapter or backend. It says: ${message}`,
  );
}

/**
 * Collects what goes wrong on the device. WebGPU reports errors later and elsewhere; here they become typed errors
 * that name the op, kept until `read` or `synchronize` throws them.
 */
export class Faults {
  readonly #device: GPUDevice;
  #outstanding = new Set<Promise<void>>();
  #first: LazyAttentionError | null = null;
  #lost: DeviceLostError | null = null;
  #disposed = false;

  constructor(device: GPUDevice, name: string) {
    this.#device = device;
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.#record(uncaptured(event.error));
    });
    device.lost.then((info) => {
      if (this.#disposed) return;
      this.#lost = new DeviceLostError(
        `webgpu: the device '${name}' was lost (${info.reason}): ${info.message}. Its tensors are gone; create a new backend`,
      );
    });
  }

  /** Runs `action` and blames `op` for every error that the device reports about it. */
  watch<T>(
    op: string,
    action: () => T,
    outOfMemory?: OutOfMemory,
    invalid?: (message: string) => LazyAttentionError,
  ): T {
    this.#device.pushErrorScope('validation');
    this.#device.pushErrorScope('internal');
    if (outOfMemory !== undefined) this.#device.pushErrorScope('out-of-memory');
    try {
      return action();
    } finally {
      if (outOfMemory !== undefined) this.#collect(this.#device.popErrorScope(), outOfMemory);
      this.#collect(this.#device.popErrorScope(), (message) => driverFailed(op, message));
      this.#collect(
        this.#device.popErrorScope(),
        invalid ?? ((message) => new DeviceValidationError(opOf(message) ?? op, message)),
      );
    }
  }

  /** Throws at once when the device is known to be gone, or was given back. `op` is what asks. */
  assertAlive(op: string): void {
    if (this.#disposed) {
      throw new DisposedError(
        `${op}: the backend webgpu was disposed of before this was done; await data() and synchronize() before dispose()`,
      );
    }
    if (this.#lost !== null) throw this.#lost;
  }

  /** Waits for the verdict on everything issued so far and throws the first error, once. `op` is what waits. */
  async settle(op: string): Promise<void> {
    while (this.#outstanding.size > 0) await Promise.all(this.#outstanding);
    this.assertAlive(op);
    const error = this.#first;
    this.#first = null;
    if (error !== null) throw error;
  }

  /** From here on the loss of the device is intended. */
  expectLoss(): void {
    this.#disposed = true;
  }

  #record(error: LazyAttentionError): void {
    this.#first ??= error;
  }

  #collect(scope: Promise<GPUError | null>, describe: (message: string) => LazyAttentionError): void {
    const verdict = scope.then(
      (error) => {
        if (error !== null) this.#record(describe(error.message));
      },
      // popErrorScope rejects when the device is lost, which `lost` reports better.
      () => {},
    );
    this.#outstanding.add(verdict);
    verdict.then(() => this.#outstanding.delete(verdict));
  }
}
