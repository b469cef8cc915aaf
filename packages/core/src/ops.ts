import type { DType, TensorData } from './dtype.ts';
import type { PrimitiveOps } from './ops/primitives.ts';
import type { SampleOptions } from './sample.ts';
import type { Shape } from './shape.ts';
import type { Tensor } from './tensor.ts';

/**
 * The differentiable ops and the few that move data. `Backend` implements them; so does the recording decorator of
 * @lazy-attention/nn, which is why a model takes `ops` and runs on either.
 *
 * Common to all: tensors belong to this backend and are alive (`BackendMismatchError`, `DisposedError`); floating
 * operands of one op have one type (`DTypeError`); wrong shapes are `ShapeError`, wrong numbers and unknown options
 * `ValueError`. "Statistics type" is f32, or f64 beside f64 operands.
 */
export interface Ops extends PrimitiveOps, CustomOps {
  /**
   * Whether these ops write down how to differentiate what they do. False on a backend. A recorder holds what it needs
   * itself, so a model may dispose and scope as if it were not there.
   */
  readonly records: boolean;
  /**
   * Runs `fn` and disposes every tensor that it made and does not return, alone or inside arrays, plain objects, Maps and
   * Sets. `fn` is synchronous. On a recorder it just runs: what a gradient needs is let go after the gradient.
   */
  scope<T>(fn: () => T): T;
  /** The same elements in another shape, without a copy. */
  reshape(x: Tensor, shape: Shape): Tensor;
  /** Between floating types, to nearest. */
  cast(x: Tensor, dtype: DType): Tensor;
  /** Entries start..end-1 along `axis` (negative counts from the last). */
  slice(x: Tensor, axis: number, start: number, end: number): Tensor;
  /** Same shape. */
  add(a: Tensor, b: Tensor): Tensor;
  /** Same shape, element by element. */
  mul(a: Tensor, b: Tensor): Tensor;
  scale(x: Tensor, factor: number): Tensor;
  /** Sum of all elements, shape [], statistics type. */
  sum(x: Tensor): Tensor;
  /**
   * a [..., M, K] times b [..., K, N]; with `transposeA` a is stored [..., K, M], with `transposeB` b is [..., N, K].
   * Leading sizes are equal, or b has none and serves all of a (a linear layer: `matmul(x, w, { transposeB: true })`).
   */
  matmul(a: Tensor, b: Tensor, options?: MatmulOptions): Tensor;
  /** x [..., C] / sqrt(mean(x^2) + epsilon) * weight [C]. epsilon defaults to 1e-6. */
  rmsNorm(x: Tensor, weight: Tensor, options?: RmsNormOptions): Tensor;
  /** spec §RoPE on x [B, L, H, D]; row r has position offset + r. */
  rope(x: Tensor, options?: RopeOptions): Tensor;
  /**
   * Lazy attention, spec §Forward. q [B, L, H, D], k and v [B, S, Hkv, D]; H a multiple of Hkv, D a multiple of 4
   * up to 256, L <= S. Without tau it is softmax attention; with a fixed bias, ALiBi. See `AttentionOptions`.
   */
  attention(q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions): AttentionResult;
  /** The dense w of given scores [B, H, L, S], spec §Forward; row r attends keys starts..r + S - L. */
  elasticSoftmax(scores: Tensor, options?: ElasticSoftmaxOptions): Tensor;
  /** gate * sigmoid(gate) * up, same shape. */
  swiglu(gate: Tensor, up: Tensor): Tensor;
  /** Rows of weight [V, C] at ids (i32, any shape, all in [0, V)): [...ids.shape, C]. */
  embedding(weight: Tensor, ids: Tensor): Tensor;
  /**
   * Mean over the targets that are not `ignoreIndex` of -log softmax(logits)[target], in nats; shape [], statistics
   * type. logits [..., V]; targets i32 with the leading shape, in [0, V) or ignoreIndex; at least one counts.
   */
  crossEntropy(logits: Tensor, targets: Tensor, options?: CrossEntropyOptions): CrossEntropyResult;
}

/** The gradients: each takes the gradient of the op's output first, then what the op took, and returns one per input. */
export interface GradOps {
  castGrad(dy: Tensor, dtype: DType): Tensor;
  /** `shape` is the shape of the sliced tensor. */
  sliceGrad(dy: Tensor, shape: Shape, axis: number, start: number): Tensor;
  addGrad(dy: Tensor): { da: Tensor; db: Tensor };
  mulGrad(dy: Tensor, a: Tensor, b: Tensor): { da: Tensor; db: Tensor };
  scaleGrad(dy: Tensor, factor: number): Tensor;
  /** dy has shape []; the result has `shape`. */
  sumGrad(dy: Tensor, shape: Shape, dtype?: DType): Tensor;
  matmulGrad(dy: Tensor, a: Tensor, b: Tensor, options?: Omit<MatmulOptions, 'accumulate'>): { da: Tensor; db: Tensor };
  rmsNormGrad(dy: Tensor, x: Tensor, weight: Tensor, options?: RmsNormOptions): { dx: Tensor; dweight: Tensor };
  ropeGrad(dy: Tensor, options?: RopeOptions): Tensor;
  /** spec §Backward. dbias and dtau are there when bias and tau were. `saved` can be used more than once. */
  attentionGrad(dOutput: Tensor, saved: SavedAttention): AttentionGradResult;
  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    options?: ElasticSoftmaxOptions,
  ): { dscores: Tensor; dtau: Tensor | undefined };
  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor };
  /** `vocabulary` is V of the weight. */
  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor;
  /** dLoss has shape []; `lse` is what `crossEntropy` returned. */
  crossEntropyGrad(dLoss: Tensor, logits: Tensor, targets: Tensor, lse: Tensor, options?: CrossEntropyOptions): Tensor;
}

/** What makes, moves and updates tensors; nothing here is differentiated. */
export interface StorageOps {
  /**
   * Copies host data to the device. The type defaults to i32 for Int32Array, f64 for Float64Array, else f32; numbers
   * are rounded to the type. i32 takes integers only.
   */
  tensor(data: TensorData | readonly number[], shape: Shape, dtype?: DType): Tensor;
  zeros(shape: Shape, dtype?: DType): Tensor;
  full(shape: Shape, value: number, dtype?: DType): Tensor;
  /** In place: target[..., offset + j, ...] = source[..., j, ...] along `axis`; the other sizes and types agree. */
  copyInto(target: Tensor, source: Tensor, axis: number, offset: number): void;
  /** w of spec §Forward as [B, H, L, S] in the statistics type: for looking, not for speed. */
  attentionWeights(q: Tensor, k: Tensor, options?: Omit<AttentionOptions, 'save'>): Tensor;
  /** Sum over all tensors and elements of x^2, shape [], statistics type: the square of a global norm. */
  sumSquares(tensors: readonly Tensor[]): Tensor;
  /** One fused optimiser step over all updates, in place on param, m and v. See `AdamWOptions`. */
  adamw(updates: readonly AdamWTensors[], options: AdamWOptions): void;
}

/** An op of one's own: what a backend and a recorder both run. */
export interface CustomOps {
  /**
   * The output of `op.forward`. On a backend that is all; a recorder keeps what `op.backward` needs, and calls it in the
   * backward sweep. @throws ValueError for inputs or results that are not what `CustomOp` says
   */
  custom(op: CustomOp): Tensor;
}

/** What the two functions of a `CustomOp` compute with. Nothing of it is recorded. */
export type PlainOps = Ops & GradOps & StorageOps;

/** An op of one's own, with a gradient of one's own. */
export interface CustomOp {
  /** What the op is a function of; gradients go to these. */
  readonly inputs: readonly Tensor[];
  /**
   * Computes the output, and what `backward` needs besides the inputs and the output. All else that it makes is disposed.
   * Synchronous, as a scope is.
   */
  forward(ops: PlainOps, inputs: readonly Tensor[]): Tensor | CustomResult;
  /**
   * The gradient of every input, in order, each of its input's shape and type; undefined for an input that has none.
   * `dy` is the output's gradient, in its shape and type.
   */
  backward(ops: PlainOps, dy: Tensor, forward: CustomContext): readonly (Tensor | undefined)[];
}

/** What `CustomOp.forward` returns when it keeps something. */
export interface CustomResult {
  /** The op's result. */
  readonly output: Tensor;
  /** Kept until the gradient has been taken. */
  readonly saved: readonly Tensor[];
}

/** What `CustomOp.backward` sees of the forward pass. */
export interface CustomContext {
  /** As given to the op. */
  readonly inputs: readonly Tensor[];
  /** The result of `forward`. */
  readonly output: Tensor;
  /** What `forward` kept; empty where it kept nothing. */
  readonly saved: readonly Tensor[];
}

/** Ops that a backend may lack, because they are others in one launch. */
export interface FusedOps {
  /** Whether `decoderLayer` is there. Without it the same is composed of other ops. */
  readonly fusesDecoderLayer: boolean;
  /**
   * A whole decoder layer on new tokens, in place on x [B, L, C] and on the cache: with a = attention over the cache,
   *   x += o(a(rope(q(norm(x))), rope(k(norm(x))), v(norm(x)))),   x += down(swiglu(gate(norm(x)), up(norm(x)))).
   * For decoding, where launching a dozen ops takes as long as they do. @throws UnsupportedError where it is not there
   */
  decoderLayer(x: Tensor, weights: DecoderLayerWeights, options: DecoderLayerOptions): void;
  /** Whether `decode` is there. */
  readonly fusesDecoding: boolean;
  /**
   * Draws `steps` tokens per row [steps, B], each from the one before, the first from `tokens` [B] i32: embed, `decoderLayer` for every
   * layer, norm, logits, `sampleToken`. Keys and values are left in the cache. One launch and one wait for all of them, so
   * that the host is not between two tokens.
   * @throws UnsupportedError where it is not there; ValueError for a logit that is NaN
   */
  decode(tokens: Tensor, decoder: DecoderWeights, options: DecodeOptions): Promise<Int32Array>;
}

/** All of x's type; Linear weights are [out, in]. I is the width of the MLP. */
export interface DecoderLayerWeights {
  /** [C] */
  readonly attentionNorm: Tensor;
  /** [H D, C] */
  readonly q: Tensor;
  /** [Hkv D, C] */
  readonly k: Tensor;
  /** [Hkv D, C] */
  readonly v: Tensor;
  /** [C, H D] */
  readonly o: Tensor;
  /** [C] */
  readonly mlpNorm: Tensor;
  /** [I, C] */
  readonly gate: Tensor;
  /** [I, C] */
  readonly up: Tensor;
  /** [C, I] */
  readonly down: Tensor;
}

export interface DecoderLayerOptions {
  /** [B, capacity, Hkv, D]: what was rotated and kept of earlier tokens; that of x is written from row `position` on. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Tokens in the cache so far, the absolute position of x's first row. */
  readonly position: number;
  /** As in `AttentionOptions`, over position + L keys. */
  readonly bias?: Tensor | undefined;
  readonly tau?: Tensor | undefined;
  readonly starts?: Tensor | undefined;
  /** Null: nothing is rotated. */
  readonly ropeBase: number | null;
  /** Of both norms. */
  readonly epsilon: number;
}

/** All of one type. V is the vocabulary. */
export interface DecoderWeights {
  /** [V, C] */
  readonly embeddings: Tensor;
  /** Of equal sizes. */
  readonly layers: readonly DecoderLayerState[];
  /** [C] */
  readonly norm: Tensor;
  /** [V, C]; may be `embeddings`. */
  readonly head: Tensor;
}

/** A layer and its cache; as in `DecoderLayerOptions`. */
export interface DecoderLayerState {
  readonly weights: DecoderLayerWeights;
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly bias?: Tensor | undefined;
  readonly tau?: Tensor | undefined;
}

export interface DecodeOptions extends SampleOptions {
  readonly steps: number;
  /** Tokens in the cache so far; it has room for `steps` more. */
  readonly position: number;
  /** [steps, B] i32: first key that a step attends. Default 0. */
  readonly starts?: Tensor | undefined;
  /** Null: nothing is rotated. */
  readonly ropeBase: number | null;
  /** Of all norms. */
  readonly epsilon: number;
  /** [steps, B] numbers in [0, 1), one per token drawn. Not looked at where temperature is 0. */
  readonly uniforms?: Float64Array | undefined;
}

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Adds the product to this tensor in place and returns it. */
  readonly accumulate?: Tensor;
}

export interface RmsNormOptions {
  readonly epsilon?: number;
}

export interface RopeOptions {
  /** Default 10000. */
  readonly base?: number;
  /** Position of row 0, default 0. */
  readonly offset?: number;
}

export interface AttentionOptions {
  /** [H, W] added to the score at relative distance d < W; statistics type. */
  readonly bias?: Tensor | undefined;
  /** [H] offset of Elastic-Softmax; statistics type. Left out: plain softmax. */
  readonly tau?: Tensor | undefined;
  /** [B, L] i32: first key that row r attends; 0 <= starts <= r + S - L and not decreasing along r. Default 0. */
  readonly starts?: Tensor | undefined;
  /** Default 1 / sqrt(D). */
  readonly scale?: number | undefined;
  /**
   * S, when k and v are caches with room for more keys: only the first `keyLength` are read. A cache longer than
   * that cannot be differentiated, so it goes with `save: false`. Default: all.
   */
  readonly keyLength?: number | undefined;
  /** Keep what `attentionGrad` needs. False is cheaper, for inference. Default true. */
  readonly save?: boolean | undefined;
}

export interface ElasticSoftmaxOptions {
  readonly tau?: Tensor | undefined;
  readonly starts?: Tensor | undefined;
}

export interface CrossEntropyOptions {
  /** Targets of this value do not count. Default -100. */
  readonly ignoreIndex?: number;
}

export interface AttentionResult {
  /** [B, L, H, D] in q's type. */
  readonly output: Tensor;
  /** For `attentionGrad`; dispose it when done. With `save: false` it is empty and cannot be used. */
  readonly saved: SavedAttention;
}

export interface AttentionGradResult {
  readonly dq: Tensor;
  readonly dk: Tensor;
  readonly dv: Tensor;
  readonly dbias: Tensor | undefined;
  readonly dtau: Tensor | undefined;
}

/** Opaque: the inputs, the output and what the backend kept. Holds their memory until disposed. */
export interface SavedAttention {
  readonly disposed: boolean;
  dispose(): void;
  [Symbol.dispose](): void;
}

export interface CrossEntropyResult {
  readonly loss: Tensor;
  /** log sum exp of each row, for `crossEntropyGrad`. */
  readonly lse: Tensor;
}

export interface AdamWTensors {
  readonly param: Tensor;
  readonly grad: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  /** Decoupled decay of this parameter; default 0. */
  readonly weightDecay?: number;
}

export interface AdamWOptions {
  readonly learningRate: number;
  /** 1 for the first step. */
  readonly step: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.95. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Scales gradients down so that their global norm, the root of `normSquared` ([]), is at most `maxNorm`. */
  readonly clip?: { readonly normSquared: Tensor; readonly maxNorm: number };
}
