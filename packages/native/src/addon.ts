/** Device memory, as C++ hands it out: opaque. */
export type NativeBuffer = object & { readonly __nativeBuffer?: never };

/** What the caching allocator holds, in bytes. */
export interface NativeMemory {
  readonly inUse: number;
  readonly cached: number;
  readonly peak: number;
  /** Times that the device was asked for memory; stands still once training has settled. */
  readonly systemAllocations: number;
}

type Tensor = NativeBuffer;
type Optional = NativeBuffer | null;

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

/** Positional calls into cpp/context.cpp. */
export interface NativeContext {
  readonly device: string;
  readonly dtypes: readonly string[];
  upload(data: Float32Array | Int32Array, dtype: string): Tensor;
  read(x: Tensor): Promise<Float32Array | Int32Array>;
  full(size: number, value: number, dtype: string): Tensor;
  free(x: Tensor): void;
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
  sumSquares(xs: readonly Tensor[]): Tensor;
  matmul(
    a: Tensor,
    b: Tensor,
    accumulate: Optional,
    ...problem: [batch: number, m: number, n: number, k: number, transposeA: boolean, transposeB: boolean]
  ): Tensor | undefined;
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor;
  rmsNormGrad(dy: Tensor, x: Tensor, weight: Tensor, epsilon: number): { dx: Tensor; dweight: Tensor };
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
  attention(...call: [...AttentionArguments, save: boolean]): { output: Tensor; saved: Optional; savedBytes: number };
  attentionGrad(...call: [...AttentionArguments, dOutput: Tensor, output: Tensor, saved: Tensor]): {
    dq: Tensor;
    dk: Tensor;
    dv: Tensor;
    dbias: Optional;
    dtau: Optional;
  };
  attentionWeights(...call: AttentionArguments): Tensor;
  elasticSoftmax(
    scores: Tensor,
    tau: Optional,
    starts: Optional,
    ...sizes: [batch: number, heads: number, queries: number, keys: number]
  ): Tensor;
  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    tau: Optional,
    starts: Optional,
    ...sizes: [batch: number, heads: number, queries: number, keys: number]
  ): { dscores: Tensor; dtau: Optional };
  swiglu(gate: Tensor, up: Tensor): Tensor;
  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor };
  embedding(weight: Tensor, ids: Tensor, vocabulary: number): Tensor;
  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor;
  crossEntropy(logits: Tensor, targets: Tensor, ignoreIndex: number, count: number): { loss: Tensor; lse: Tensor };
  crossEntropyGrad(
    dLoss: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    ignoreIndex: number,
    count: number,
  ): Tensor;
  adamw(
    params: readonly Tensor[],
    grads: readonly Tensor[],
    ms: readonly Tensor[],
    vs: readonly Tensor[],
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

/** What a `.node` file made with LAZY_NATIVE_ADDON exports. */
export interface NativeAddon {
  readonly version: string;
  probe(): NativeProbe;
  create(options: Readonly<Record<string, number | string | boolean>>): NativeContext;
}
