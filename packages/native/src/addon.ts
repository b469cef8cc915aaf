/** What the caching allocator holds, in bytes. */
export interface NativeMemory {
  /** Held by live buffers. */
  readonly inUse: number;
  /** Kept for reuse. */
  readonly cached: number;
  /** Most that was in use at one time. */
  readonly peak: number;
  /** Times that the device was asked for memory; stands still once training has settled. */
  readonly systemAllocations: number;
}

/** An argument of an op, as its struct in include/lazy_native/ops states it. */
export interface NativeField {
  /** As the addon and JavaScript both call it. */
  readonly name: string;
  /**
   * 'tensor' and 'optional' are numbers of buffers, 0 for none; 'dtype' is a place in `names`; 'tensors' is an Int32Array of
   * buffers, 'each' likewise with `names` of them per entry; 'numbers' is a Float64Array. 'axes' is no argument: it lies in
   * `NativeContext.axes`.
   */
  readonly kind: 'tensor' | 'optional' | 'number' | 'flag' | 'dtype' | 'tensors' | 'numbers' | 'each' | 'axes';
  /** What `kind` reads by place or entry; see there. */
  readonly names: readonly string[];
}

/** An op of the binary: what it takes, in order, and what comes out. */
export interface NativeOp {
  /** As in `Kernels`. */
  readonly name: string;
  /** Its arguments, in the order in which the addon takes them. */
  readonly fields: readonly NativeField[];
  /** The functions that it computes, each launched by one of its own; empty for an op that is one. */
  readonly choices: readonly string[];
  /** Names of the buffers it gives. */
  readonly outputs: readonly string[];
}

/** A positional argument of a launch. */
export type NativeArgument = number | boolean | Int32Array | Float64Array;

/** Queues an op: the number of its one output, or nothing; several outputs lie in `NativeContext.outputs`. */
export type Launch = (...fields: NativeArgument[]) => number | undefined;

/** A session with a device. Buffers are numbers. */
export interface NativeContext {
  /** What it runs on, for people. */
  readonly device: string;
  /** Element types that every op takes. */
  readonly dtypes: readonly string[];
  /** Packed types that the device takes. */
  readonly packedDtypes: readonly string[];
  /** The ops that the device offers, by name (and choice), each taking its fields in order. */
  readonly launch: Readonly<Record<string, Launch | Readonly<Record<string, Launch>>>>;
  /** Where ops with several outputs leave them, 0 for none; behind them how many bytes are saved. Valid until the next call. */
  readonly outputs: Float64Array;
  /** The fields of kind 'axes' of the next call, each `axesRoom` numbers: how many axes, then which. */
  readonly axes: Float64Array;
  /** Numbers in `axes` per field, one more than a view may have axes. */
  readonly axesRoom: number;
  /** Buffers to give back: how many, then which. Taken at the next call of any function. */
  readonly freed: Int32Array;
  /** `dtype` by its place among the names that `cast` states. */
  upload(data: Float32Array | Int32Array, dtype: number): number;
  /** Copies a buffer to the host once the work before it is done. */
  read(x: number): Promise<Float32Array | Int32Array>;
  /** Copies f32 buffers one behind the other into `target`, once the work before it is done. */
  readInto(xs: Int32Array, target: Float32Array): Promise<unknown>;
  /** Copies `source`, which nobody changes before it is done, into f32 buffers, one behind the other. */
  writeFrom(xs: Int32Array, source: Float32Array): Promise<unknown>;
  /** Does nothing but what every call does first: takes what is listed in `freed`. */
  collect(): void;
  /** Resolves when all work queued so far is done. */
  synchronize(): Promise<void>;
  /** Called once. */
  dispose(): Promise<void>;
  /** Bytes held, and the most that were. */
  memory(): NativeMemory;
  /** How often each way to compute an op was taken; of devices that have several. */
  launches?(): Readonly<Record<string, number>>;
  /** What a user is to hear, since the last call; of the same devices. */
  takeWarnings?(): readonly string[] | undefined;
}

/** What the device of a binary says of itself. */
export interface NativeProbe {
  readonly available: boolean;
  readonly device: string;
  readonly reason: string;
  readonly fix?: string;
}

/** Makes core's error for a code of cpp/failure.cpp. */
export type ErrorOf = (op: string, code: string, message: string, requestedBytes: number, fix: string) => Error;

/** What a `.node` file made with LAZY_NATIVE_ADDON exports. */
export interface NativeAddon {
  /** Version of the package that the binary was built for. */
  readonly version: string;
  /** Every op that the binary knows, in its order. */
  readonly ops: readonly NativeOp[];
  /** Whether it can run here, and on what. */
  probe(): NativeProbe;
  /** `errorOf` makes the error that a call throws or rejects with. */
  create(options: Readonly<Record<string, number | string | boolean>>, errorOf: ErrorOf): NativeContext;
}
