import type { Ops, Tensor } from '@lazy-attention/core';
import type { MlpNames } from '../model/names.ts';
import { optionalParam, type Params, param } from '../params.ts';
import { linear, linearInto } from './linear.ts';

/** residual + down(swiglu(gate(x), up(x))). Uses up `residual`. */
export function mlpInto(ops: Ops, names: MlpNames, params: Params, residual: Tensor, x: Tensor): Tensor {
  const gate = linear(ops, x, param(params, names.gate), optionalParam(params, names.biases.gate));
  const up = linear(ops, x, param(params, names.up), optionalParam(params, names.biases.up));
  const activated = ops.swiglu(gate, up);
  gate.dispose();
  up.dispose();
  const y = linearInto(ops, residual, activated, param(params, names.down), optionalParam(params, names.biases.down));
  activated.dispose();
  return y;
}
