/** What the caching allocator holds, in bytes. */
export interface NativeMemory {
  readonly inUse: number;
  readonly cached: number;
  readonly peak: number;
  /** Times that the device was asked for memory; stands still once training has settled. */
  readonly systemAllocations: number;
}

/** The number of a buffer (buffers.ts). */
type Tensor = number;
/** 0 for none. */
type Optional = number;

/** q, k, v, bias, tau, starts, scale, B, L, S, capacity, H, Hkv, D, W. */
export type AttentionArguments = [
  q: Tensor,
  k: Tensor,
  v: Optional,
  bias: Optional,
  tau: Optional,
  starts: Optional,
  scale: number,
  ...sizes: [number, number, number, number, number, number, number, number],
];

/**
 * Positional calls into cpp/context.cpp. Buffers are numbers; an op with several outputs leaves them in `outputs`, in the order
 * that its comment gives.
 */
export interface NativeContext {
  readonly device: string;
  readonly dtypes: readonly string[];
  /** Where ops with several outputs leave them, 0 for none. Valid until the next call. */
  readonly outputs: Float64Array;
  /** Buffers to give back: how many, then which. Taken at the next call of any function. */
  readonly freed: Int32Array;
  upload(data: Float32Array | Int32Array, dtype: string): Tensor;
  read(x: Tensor): Promise<Float32Array | Int32Array>;
  full(size: number, value: number, dtype: string): Tensor;
  /** Does nothing but what every call does first: takes what is listed in `freed`. */
  collect(): void;
  synchronize(): Promise<void>;
  dispose(): Promise<void>;
  memory(): NativeMemory;
  cast(x: Tensor, dtype: string): Tensor;
  slice(x: Tensor, ...view: [number, number, number, number, number]): Tensor;
  copyInto(target: Tensor, source: Tensor, ...view: [number, number, number, number, number]): void;
  add(a: Tensor, b: Tensor): Tensor;
  mul(a: Tensor, b: Tensor): Tensor;
  scale(x: Tensor, factor: number): Tensor;
  sum(x: Tensor): Tensor;
  sumGrad(dy: Tensor, size: number, dtype: string): Tensor;
  sumSquares(xs: Int32Array): Tensor;
  matmul(
    a: Tensor,
    b: Tensor,
    accumulate: Optional,
    ...problem: [batch: number, m: number, n: number, k: number, transposeA: boolean, transposeB: boolean]
  ): Tensor | undefined;
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor;
  /** dx, dweight */
  rmsNormGrad(dy: Tensor, x: Tensor, weight: Tensor, epsilon: number): void;
  rope(
    x: Tensor,
    ...rotation: [
      batch: number,
      length: number,
      heads: number,
      dim: number,
      offset: number,
      base: number,
      inverse: boolean,
    ]
  ): Tensor;
  /** output, saved, and how many bytes saved has */
  attention(...call: [...AttentionArguments, save: boolean]): void;
  /** dq, dk, dv, dbias, dtau */
  attentionGrad(...call: [...AttentionArguments, dOutput: Tensor, output: Tensor, saved: Tensor]): void;
  attentionWeights(...call: AttentionArguments): Tensor;
  elasticSoftmax(
    scores: Tensor,
    tau: Optional,
    starts: Optional,
    ...sizes: [batch: number, heads: number, queries: number, keys: number]
  ): Tensor;
  /** dscores, dtau */
  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    tau: Optional,
    starts: Optional,
    ...sizes: [batch: number, heads: number, queries: number, keys: number]
  ): void;
  swiglu(gate: Tensor, up: Tensor): Tensor;
  /** dgate, dup */
  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): void;
  embedding(weight: Tensor, ids: Tensor, vocabulary: number): Tensor;
  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor;
  /** loss, lse */
  crossEntropy(logits: Tensor, targets: Tensor, ignoreIndex: number, count: number): void;
  crossEntropyGrad(
    dLoss: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    ignoreIndex: number,
    count: number,
  ): Tensor;
  /** Where the device has it. The last number is 0 where nothing is rotated. */
  decoderLayer?(
    x: Tensor,
    keys: Tensor,
    values: Tensor,
    bias: Optional,
    tau: Optional,
    starts: Optional,
    ...call: [
      attentionNorm: Tensor,
      q: Tensor,
      k: Tensor,
      v: Tensor,
      o: Tensor,
      mlpNorm: Tensor,
      gate: Tensor,
      up: Tensor,
      down: Tensor,
      ...sizes: [number, number, number, number, number, number, number, number, number],
      position: number,
      epsilon: number,
      ropeBase: number,
    ]
  ): void;
  /**
   * Where the device has it. `layers` are thirteen tensors each, 0 for those that are absent: keys, values, bias, tau, attentionNorm, q,
   * k, v, o, mlpNorm, gate, up, down.
   */
  decode?(
    tokens: Tensor,
    starts: Optional,
    embeddings: Tensor,
    norm: Tensor,
    head: Tensor,
    layers: Int32Array,
    ...call: [
      ...sizes: [number, number, number, number, number, number, number, number],
      vocabulary: number,
      steps: number,
      position: number,
      epsilon: number,
      ropeBase: number,
      temperature: number,
      topK: number,
      topP: number,
      uniforms: Float64Array,
    ]
  ): Tensor;
  adamw(
    params: Int32Array,
    grads: Int32Array,
    ms: Int32Array,
    vs: Int32Array,
    weightDecays: Float64Array,
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    correction1: number,
    correction2: number,
    normSquared: Optional,
    maxNorm: number,
  ): void;
}

export interface NativeProbe {
  readonly available: boolean;
  readonly device: string;
  readonly reason: string;
  readonly fix?: string;
}

export type ErrorOf = (op: string, code: string, message: string, requestedBytes: number, fix: string) => Error;

/** What a `.node` file made with LAZY_NATIVE_ADDON exports. */
export interface NativeAddon {
  readonly version: string;
  probe(): NativeProbe;
  /** `errorOf` makes the error that a call throws or rejects with. */
  create(options: Readonly<Record<string, number | string | boolean>>, errorOf: ErrorOf): NativeContext;
}
