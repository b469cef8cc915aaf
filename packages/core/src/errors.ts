/** On errors of every copy of core in the process. */
const BRAND = Symbol.for('@lazy-attention/core/error');

/**
 * Every error that the project throws on purpose. The message names the op and the argument, what was expected and
 * what was found, and where it helps the fix; `code` is stable and meant for programs.
 *
 * `instanceof` also knows the errors of another copy of core, by the names of their classes: a backend's package may have
 * brought its own.
 */
export class LazyAttentionError extends Error {
  /** 'SHAPE', 'VALUE' and so on; each class has its own. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }

  /** @internal */
  get [BRAND](): true {
    return true;
  }

  /** @internal */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: the class on the right of instanceof, which may be a subclass
    const { name } = this;
    // biome-ignore lint/complexity/noThisInStatic: as above
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    if (!(value instanceof Error) || !(BRAND in value)) return false;
    for (let of: unknown = Object.getPrototypeOf(value); of !== Error.prototype; of = Object.getPrototypeOf(of)) {
      if ((of as Error).constructor.name === name) return true;
    }
    return false;
  }
}

/** A shape, an axis or a combination of shapes that the op cannot take. */
export class ShapeError extends LazyAttentionError {
  constructor(message: string) {
    super('SHAPE', message);
  }
}

/** An element type that the op does not take. */
export class DTypeError extends LazyAttentionError {
  constructor(message: string) {
    super('DTYPE', message);
  }
}

/** A number or option outside what the op allows: an index out of range, a negative learning rate, an unknown option. */
export class ValueError extends LazyAttentionError {
  constructor(message: string) {
    super('VALUE', message);
  }
}

/** Use of a tensor, a saved attention or a backend after its `dispose()`. */
export class DisposedError extends LazyAttentionError {
  constructor(message: string) {
    super('DISPOSED', message);
  }
}

/** A tensor of one backend given to an op of another. */
export class BackendMismatchError extends LazyAttentionError {
  constructor(message: string) {
    super('BACKEND_MISMATCH', message);
  }
}

/** The backend lacks a capability that was asked for, for instance an element type. */
export class UnsupportedError extends LazyAttentionError {
  constructor(message: string) {
    super('UNSUPPORTED', message);
  }
}

/** A backend that was named cannot run here. The message says what was looked for, what was found and the fix. */
export class BackendUnavailableError extends LazyAttentionError {
  /** Name of the backend. */
  readonly backend: string;
  /** What was looked for, and what was found. */
  readonly reason: string;
  /** The command or step that would help, where there is one. */
  readonly fix: string | undefined;

  constructor(backend: string, reason: string, fix?: string, options?: ErrorOptions) {
    super(
      'BACKEND_UNAVAILABLE',
      `backend '${backend}' is not available: ${reason}${fix === undefined ? '' : `\n  fix: ${fix}`}`,
      options,
    );
    this.backend = backend;
    this.reason = reason;
    this.fix = fix;
  }
}

/** Device memory could not be had. The backend stays usable. All sizes in bytes. */
export class OutOfMemoryError extends LazyAttentionError {
  /** Bytes that could not be had; 0 where that is not known. */
  readonly requestedBytes: number;

  constructor(message: string, requestedBytes: number) {
    super('OUT_OF_MEMORY', message);
    this.requestedBytes = requestedBytes;
  }
}

/** The device stopped working (driver reset, lost adapter, illegal access). Tensors of this backend are gone. */
export class DeviceLostError extends LazyAttentionError {
  constructor(message: string, options?: ErrorOptions) {
    super('DEVICE_LOST', message, options);
  }
}
