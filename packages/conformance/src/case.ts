import type { Backend, FloatDType } from '@lazy-attention/core';

/** Rows of the coverage matrix: the public ops, each with its forward and, where there is one, its gradient. */
export const OPS = [
  'tensor',
  'full',
  'cast',
  'slice',
  'copyInto',
  'add',
  'mul',
  'scale',
  'sum',
  'sumSquares',
  'matmul',
  'rmsNorm',
  'rope',
  'attention',
  'attentionWeights',
  'elasticSoftmax',
  'swiglu',
  'embedding',
  'crossEntropy',
  'adamw',
  'unary',
  'binary',
  'reduce',
  'permute',
  'broadcast',
  'where',
  'concat',
  'pad',
  'gather',
  'custom',
  'decoder.layer',
  'decoder.decode',
] as const;

/** A row of the coverage matrix. */
export type Op = (typeof OPS)[number];

/** An op itself, or its gradient. */
export type Direction = 'forward' | 'backward';

/** 'small' keeps shapes and the number of random problems down, for emulated GPUs and browsers. */
export type Size = 'small' | 'full';

/** One test: plain data and a function, so that vitest, a command and a browser page can all run it. */
export interface Case {
  /** Unique: 'attentionGrad f32 window_of_one'. */
  readonly name: string;
  /** Where it counts in the coverage matrix; 'errors' and 'memory' are not about one op. */
  readonly op: Op | 'errors' | 'memory';
  /** Whether the op or its gradient is compared. */
  readonly direction: Direction;
  /** Element type of the operands. */
  readonly dtype: FloatDType;
  /**
   * Why this backend does not offer what is tested, for what a backend may leave out; undefined where it does. Such a case
   * is not run, and reported as 'not offered'.
   */
  lacks?(backend: Backend): string | undefined;
  /** Resolves when the backend does what it must, rejects with what it did instead. Leaves nothing alive on it. */
  run(backend: Backend): Promise<void>;
}

/** Largest relative Frobenius errors against float64. */
export interface Tolerance {
  /** Of what an op gives. */
  readonly output: number;
  /** Of its gradients. */
  readonly gradient: number;
}

/** Largest relative Frobenius error, by element type. */
export type Tolerances = Readonly<Record<FloatDType, Tolerance>>;

/** spec §Numerics; f64 is held to what the reference reaches in another summation order. */
export const TOLERANCES: Tolerances = {
  f64: { output: 1e-12, gradient: 1e-11 },
  f32: { output: 2e-5, gradient: 1e-4 },
  bf16: { output: 1e-2, gradient: 2e-2 },
  f16: { output: 1e-2, gradient: 2e-2 },
};

/** Which cases are run, and how they are judged. */
export interface ConformanceOptions {
  /** Floating types to test; must be all that the backend declares. Default ['f32']. */
  readonly dtypes?: readonly FloatDType[];
  /** Replaces the tolerances of spec §Numerics, type by type. Say why where you use it. */
  readonly tolerance?: Partial<Tolerances>;
  /** Default 'full'. */
  readonly size?: Size;
}

/** A case's name: the op (with `Grad` for its gradient), the type, and what is special. */
export function caseName(op: Op, name: string, direction: Direction, dtype: FloatDType): string {
  return `${op}${direction === 'backward' ? 'Grad' : ''} ${dtype} ${name}`;
}
