import type { DType, PackedDType, TensorData } from '../dtype.ts';
import type { AttentionInputs, ElasticSoftmaxInputs, LearnedGrads } from './attention.ts';
import type { DecoderKernels } from './decoder.ts';
import type {
  BinaryFunction,
  BroadcastView,
  RearrangeView,
  ReduceFunction,
  ReduceView,
  UnaryFunction,
} from './primitives.ts';
import type { KernelTensor } from './tensor.ts';

/**
 * The contract between core and a backend.
 *
 * Core has validated everything before a kernel is called: shapes, element types, index ranges, ownership. A kernel
 * therefore checks nothing of that again, and all backends give the same error for the same mistake. What a kernel may
 * throw is `OutOfMemoryError`, `DeviceLostError` and `UnsupportedError`.
 *
 * - Tensors are dense and row-major. `B` is the backend's own handle for a piece of device memory.
 * - A kernel returns new buffers, which core owns and gives back through `free`; it never keeps or frees its arguments
 *   beyond the work that it has queued. Only `copyInto`, `writeFrom`, `matmul` with `accumulate`, `adamw` and the two of
 *   `decoder` write into an argument.
 * - A call may return before the work is done. Results must be as if calls ran in order; `read` waits for its tensor.
 *   An error that surfaces late rejects `read` or `synchronize`.
 * - Statistics (attention's learned inputs, losses, norms, their gradients) are f32 whatever the operands' type, and f64 beside f64.
 * - What is not a number in float64 is not a number here: NaN and infinities go through every formula as written (spec §Not
 *   a number). A bias of -Infinity is a legal mask; a row whose every score is -Infinity has NaN weights and output.
 * - Every kernel repeats bit for bit on the same device: no floating-point atomics, fixed summation order.
 */
export interface Kernels<B extends object = object, S extends SavedState = SavedState> {
  /** Short name, as in `createBackend(name)`. */
  readonly name: string;
  /** What it runs on, for people: 'Intel Xeon, 2 threads, AVX-512'. */
  readonly device: string;
  /** Element types that every op takes; always holds 'f32' and 'i32'. */
  readonly dtypes: ReadonlySet<DType>;

  /**
   * Optional: packed types that `upload`, `matmul` (b, with transposeB alone), `embedding` and `decoder` take, beside f32. Data
   * of an upload are `PackedWeights.words` then; the products are those of the weights as they are, not of rounded activations.
   */
  readonly packedDTypes?: ReadonlySet<PackedDType>;

  /** Copies host data to the device before it returns. Element count is the product of `shape`. */
  upload(data: TensorData, shape: readonly number[], dtype: DType): B;
  /** Every element is `value`, rounded to the type. */
  full(shape: readonly number[], value: number, dtype: DType): B;
  /** f32, bf16 and f16 come back as Float32Array, f64 as Float64Array, i32 as Int32Array. The caller owns the array. */
  read(x: KernelTensor<B>): Promise<TensorData>;
  /**
   * Optional: copies f32 tensors one behind the other into `target`, whose length is theirs together. Without it each is read.
   */
  readInto?(xs: readonly KernelTensor<B>[], target: Float32Array): Promise<void>;
  /**
   * Optional: overwrites f32 tensors with `source`, one behind the other, and resolves when `source` is free again. Without it
   * each part is uploaded and copied.
   */
  writeFrom?(xs: readonly KernelTensor<B>[], source: Float32Array): Promise<void>;
  /** Gives a buffer back, in order with the work that is queued. */
  free(buffer: B): void;
  /**
   * Optional, for a backend that shares memory with another library: what a buffer given to `adopt` holds, null for an
   * object that is no buffer of this backend. Without it `adopt` takes nothing.
   */
  inspect?(buffer: object): { readonly count: number; readonly dtype: DType } | null;
  /** Optional, for a backend that chooses between ways to compute an op: how often each was launched, by names of its own. */
  launches?(): Readonly<Record<string, number>>;
  /** Gives back what `attention` kept. */
  freeSaved(saved: S): void;
  /** Resolves when all work queued so far is done; rejects with the first error of that work. */
  synchronize(): Promise<void>;
  /** Releases the device. Buffers still alive go with it. */
  dispose(): Promise<void>;

  /** Between floating types; to nearest, ties to even. */
  cast(x: KernelTensor<B>, dtype: DType): B;
  /** Rows of a [outer, length, inner] view: out[o, j, i] = x[o, start + j, i], j < count. All dtypes. */
  slice(x: KernelTensor<B>, view: SliceView): B;
  /** In place: target[o, start + j, i] = source[o, j, i], with the view over `target`. All dtypes. */
  copyInto(target: KernelTensor<B>, source: KernelTensor<B>, view: SliceView): void;

  /* The open primitives. What the functions are, NaN and all: primitives.ts. */

  /** y = fn(x), x's shape and type, which is a floating one. */
  unary(x: KernelTensor<B>, fn: UnaryFunction): B;
  /**
   * out = fn(a, b), all of one floating type; out has `view.shape`. Entry (i0, i1, ...) of the merged `view.sizes` reads a
   * at sum(i * stridesA) and b at sum(i * stridesB). a and b may be one buffer. The common views are worth a loop of their
   * own: one axis with strides 1 or 0, and [rows, columns] with one operand repeated along either.
   */
  binary(a: KernelTensor<B>, b: KernelTensor<B>, fn: BinaryFunction, view: BroadcastView): B;
  /**
   * x (floating) seen as [outer, length, inner] and reduced over `length`: outer * inner entries in `dtype`, which is x's
   * type or its statistics type, and i32 for argmax. Several axes come as one where they are neighbours; else core
   * rearranges first. Sums in f32 or better, in a fixed order; that of a whole tensor must be as good in f32 for a million
   * entries, and is worth all of the device.
   */
  reduce(x: KernelTensor<B>, fn: ReduceFunction, view: ReduceView, dtype: DType): B;
  /** out[i0, i1, ...] = x[sum(i * strides)] over the merged `view.sizes`: permute and broadcast. All dtypes. */
  rearrange(x: KernelTensor<B>, view: RearrangeView): B;

  /** factor * x. */
  scale(x: KernelTensor<B>, factor: number): B;
  /** sum over all elements of all tensors of x^2, shape [], statistics type of the first. */
  sumSquares(tensors: readonly KernelTensor<B>[]): B;

  /**
   * out[b] = op(a[b]) . op(b[b]), op(a) is [m, k], op(b) is [k, n]. Stored: a is [batch, m, k], or [batch, k, m] when
   * transposeA; b is [batch, k, n], or [batch, n, k] when transposeB. With `accumulate` (shape [batch, m, n], the
   * operands' type) the product is added to it in place and the same buffer is returned. Sums in f32 or better.
   */
  matmul(a: KernelTensor<B>, b: KernelTensor<B>, problem: MatmulProblem, accumulate: KernelTensor<B> | null): B;

  /** x is [rows, width]: y = x / sqrt(mean(x^2) + epsilon) * weight. */
  rmsNorm(x: KernelTensor<B>, weight: KernelTensor<B>, epsilon: number): B;
  /** dx like x, dweight like weight. */
  rmsNormGrad(dy: KernelTensor<B>, x: KernelTensor<B>, weight: KernelTensor<B>, epsilon: number): { dx: B; dweight: B };

  /**
   * spec §RoPE. x is [B, L, H, D]; row r has position offset + r; angle = position * base^(-2d/D). With `inverse`
   * the rotation is by the negative angle, which is the gradient. Angles must be good to f32 at position 10^6.
   */
  rope(x: KernelTensor<B>, rotation: Rotation): B;

  /**
   * spec §Forward. Output is [B, L, H, D] in q's type. With `save` false nothing is kept for the backward pass and
   * `saved` is null.
   */
  attention(inputs: AttentionInputs<B>, save: boolean): { output: B; saved: S | null };
  /**
   * spec §Backward. `output` and `saved` are what `attention` returned for `inputs`; `saved` stays valid until
   * `freeSaved`. The gradients of learned inputs are like these; null where the input was null.
   */
  attentionGrad(
    dOutput: KernelTensor<B>,
    inputs: AttentionInputs<B>,
    output: KernelTensor<B>,
    saved: S,
  ): AttentionGradients<B>;
  /** w of spec §Forward, [B, H, L, S] in the statistics type, 0 where a key is not attended. `v` is not used. */
  attentionWeights(inputs: Omit<AttentionInputs<B>, 'v'>): B;

  /** w from given scores s [B, H, L, S] (scale and bias already in them), in the scores' type. */
  elasticSoftmax(inputs: ElasticSoftmaxInputs<B>): B;
  /** dscores like scores (0 where a key is not attended); dtau [H], null where tau was null. */
  elasticSoftmaxGrad(dWeights: KernelTensor<B>, inputs: ElasticSoftmaxInputs<B>): { dscores: B; dtau: B | null };

  /** gate * sigmoid(gate) * up. */
  swiglu(gate: KernelTensor<B>, up: KernelTensor<B>): B;
  /** Both like gate. */
  swigluGrad(dy: KernelTensor<B>, gate: KernelTensor<B>, up: KernelTensor<B>): { dgate: B; dup: B };

  /** Rows of weight [V, C] at ids [...] (i32, all in [0, V)): [..., C]. */
  embedding(weight: KernelTensor<B>, ids: KernelTensor<B>): B;
  /** dweight [vocabulary, C]: rows of dy [..., C] summed by id, in the order of the ids. */
  embeddingGrad(dy: KernelTensor<B>, ids: KernelTensor<B>, vocabulary: number): B;

  /**
   * logits [N, V], targets [N] i32. loss (shape [], statistics type) is the sum over the rows whose target is
   * not `ignoreIndex` of lse(row) - row[target], divided by `count`; lse [N] (statistics type) is kept for the gradient.
   */
  crossEntropy(logits: KernelTensor<B>, targets: KernelTensor<B>, options: CrossEntropyProblem): { loss: B; lse: B };
  /** dlogits [N, V] in the logits' type: dloss / count * (exp(logits - lse) - onehot); 0 in ignored rows. */
  crossEntropyGrad(
    dLoss: KernelTensor<B>,
    logits: KernelTensor<B>,
    targets: KernelTensor<B>,
    lse: KernelTensor<B>,
    options: CrossEntropyProblem,
  ): B;

  /** Optional: fused decoding. */
  readonly decoder?: DecoderKernels<B>;

  /**
   * In place on param, m and v of each update (all f32, or all f64), PyTorch's AdamW with decoupled decay:
   *   g = grad * min(1, maxNorm / (sqrt(normSquared) + 1e-6))     (g = grad without clip)
   *   param -= learningRate * weightDecay * param
   *   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
   *   param -= learningRate / correction1 * m / (sqrt(v / correction2) + epsilon)
   * The corrections 1 - beta^step are computed in double by core.
   */
  adamw(updates: readonly AdamWUpdate<B>[], problem: AdamWProblem<B>): void;
}

/** Gradients of `AttentionInputs`, each like its input; null for a learned input that was null. */
export interface AttentionGradients<B extends object = object> extends LearnedGrads<B | null> {
  /** [B, L, H, D] */
  readonly dq: B;
  /** [B, S, Hkv, D] */
  readonly dk: B;
  /** [B, S, Hkv, D] */
  readonly dv: B;
}

/** What a backend keeps from `attention` for `attentionGrad`, beside the inputs and the output, which core keeps. */
export interface SavedState {
  /** Device bytes held, for accounting. */
  readonly bytes: number;
}

/** The tensor seen as [outer, length, inner] around one axis, and the `count` entries of that axis from `start`. */
export interface SliceView {
  /** Product of the sizes before the axis. */
  readonly outer: number;
  /** Size of the axis. */
  readonly length: number;
  /** Product of the sizes behind the axis. */
  readonly inner: number;
  /** First entry. */
  readonly start: number;
  /** Number of entries, at least 1. */
  readonly count: number;
}

/** out[b] = op(a[b]) . op(b[b]), [m, k] times [k, n]. */
export interface MatmulProblem {
  /** Matrices of each operand. */
  readonly batch: number;
  /** Rows of the product. */
  readonly m: number;
  /** Columns of the product. */
  readonly n: number;
  /** Length of the sums. */
  readonly k: number;
  /** a is stored [batch, k, m]. */
  readonly transposeA: boolean;
  /** b is stored [batch, n, k]. */
  readonly transposeB: boolean;
}

/** spec §RoPE. */
export interface Rotation {
  /** Of the angles, positive. */
  readonly base: number;
  /** Position of row 0, from 0. */
  readonly offset: number;
  /** By the negative angle. */
  readonly inverse: boolean;
}

/** Which targets count. */
export interface CrossEntropyProblem {
  /** Rows with this target do not count. */
  readonly ignoreIndex: number;
  /** What the sum is divided by, at least 1: the rows whose target is not ignoreIndex, or those of a larger batch. */
  readonly count: number;
}

/** One parameter's step. */
export interface AdamWUpdate<B extends object = object> {
  /** Written in place. */
  readonly param: KernelTensor<B>;
  /** Its gradient. */
  readonly grad: KernelTensor<B>;
  /** Mean of the gradients, written in place. */
  readonly m: KernelTensor<B>;
  /** Mean of their squares, written in place. */
  readonly v: KernelTensor<B>;
  /** Decoupled decay. */
  readonly weightDecay: number;
}

/** What all updates have in common. */
export interface AdamWProblem<B extends object = object> {
  /** Step size. */
  readonly learningRate: number;
  /** Decay of m. */
  readonly beta1: number;
  /** Decay of v. */
  readonly beta2: number;
  /** Added to the root of v. */
  readonly epsilon: number;
  /** 1 - beta1^step */
  readonly correction1: number;
  /** 1 - beta2^step */
  readonly correction2: number;
  /** Clip by the global norm whose square is the scalar `normSquared`; null leaves gradients as they are. */
  readonly clip: { readonly normSquared: KernelTensor<B>; readonly maxNorm: number } | null;
}
