import type { Decoder } from '../decoder/types.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import type { ArithmeticGradOps, ArithmeticOps, NormOps } from './arithmetic.ts';
import type { AttentionGradOps, AttentionOps, AttentionWeightOps } from './attention.ts';
import type { ElasticSoftmaxGradOps, ElasticSoftmaxOps } from './elastic-softmax.ts';
import type { LayerGradOps, LayerOps } from './layers.ts';
import type { LossGradOps, LossOps } from './loss.ts';
import type { MatmulGradOps, MatmulOps } from './matmul.ts';
import type { OptimizerOps } from './optimizer.ts';
import type { PrimitiveOps } from './primitives.ts';
import type { CreationOps, ViewGradOps, ViewOps } from './storage.ts';

/**
 * The differentiable ops and the few that move data. `Backend` implements them; so does the recording decorator of
 * @lazy-attention/nn, which is why a model takes `ops` and runs on either.
 *
 * Common to all: tensors belong to this backend and are alive (`BackendMismatchError`, `DisposedError`); floating
 * operands of one op have one type (`DTypeError`); wrong shapes are `ShapeError`, wrong numbers and unknown options
 * `ValueError`. "Statistics type" is f32, or f64 beside f64 operands. Index tensors (i32) are those whose values the host
 * knows, which excludes what the device computed.
 */
export interface Ops
  extends ViewOps,
    ArithmeticOps,
    MatmulOps,
    LayerOps,
    AttentionOps,
    ElasticSoftmaxOps,
    LossOps,
    PrimitiveOps,
    CustomOps {
  /**
   * Whether these ops write down how to differentiate what they do. False on a backend. A recorder holds what it needs
   * itself, so a model may dispose and scope as if it were not there.
   */
  readonly records: boolean;
  /** Fused decoding, where the backend offers it. A recorder does not, and neither do ops that somebody watches. */
  readonly decoder?: Decoder | undefined;
  /**
   * Runs `fn` and disposes every tensor that it made and does not return, alone or inside arrays, plain objects, Maps and
   * Sets. `fn` is synchronous. On a recorder what a gradient needs is let go after the gradient.
   */
  scope<T>(fn: () => T): T;
}

/** The gradients: each takes the gradient of the op's output first, then what the op took, and returns one per input. */
export interface GradOps
  extends ViewGradOps,
    ArithmeticGradOps,
    MatmulGradOps,
    LayerGradOps,
    AttentionGradOps,
    ElasticSoftmaxGradOps,
    LossGradOps {}

/** What makes, moves, looks at and updates tensors; nothing here is differentiated. */
export interface StorageOps extends CreationOps, NormOps, AttentionWeightOps, OptimizerOps {}

/** What the two functions of a `CustomOp` compute with. Nothing of it is recorded. */
export type PlainOps = Ops & GradOps & StorageOps;

/** An op of one's own: what a backend and a recorder both run. */
export interface CustomOps {
  /**
   * The output of `op.forward`. On a backend that is all; a recorder keeps what `op.backward` needs, and calls it in the
   * backward sweep. @throws ValueError for inputs or results that are not what `CustomOp` says
   */
  custom(op: CustomOp): Tensor;
}

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
