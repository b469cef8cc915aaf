import type { CustomOp, Tensor } from '@lazy-attention/core';
import type { Backward, Recording } from './rule.ts';

/** Key of a `DirectOp`'s gradient. */
export const DIRECT = Symbol("gradient that adds to the recorder's own");

/**
 * An op of nn's own whose gradient adds to those of the recorder, in place where it may, instead of returning tensors that are added
 * later. `inputs` and `saved` are what the recorder held; node `inputs[i]` is that of input i.
 */
export interface DirectOp extends CustomOp {
  /** Makes the step's backward. */
  readonly [DIRECT]?: (recording: Recording, inputs: readonly Tensor[], saved: readonly Tensor[]) => Backward;
}
