import type { Ops, Tensor } from '@lazy-attention/core';
import { type Params, param } from '../params.ts';
import { linear, linearInto } from './linear.ts';

/** residual + down(swiglu(gate(x), up(x))). Uses up `residual`. */
export function mlpInto(ops: Ops, params: Params, prefix: string, residual: Tensor, x: Tensor): Tensor {
  const gate = linear(ops, x, param(params, `${prefix}gate_proj.weight`));
  const up = linear(ops, x, param(params, `${prefix}up_proj.weight`));
  const activated = ops.swiglu(gate, up);
  gate.dispose();
  up.dispose();
  const y = linearInto(ops, residual, activated, param(params, `${prefix}down_proj.weight`));
  activated.dispose();
  return y;
}
