import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { swiglu, swigluGrad } from '../wgsl/elementwise.ts';
import { allocate, runPointwise, scalarOf } from './shared.ts';

/** The gated activation and its gradient. */
export function swigluKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'swiglu' | 'swigluGrad'> {
  return {
    swiglu(gate, up) {
      const out = allocate(rt, gate.shape, gate.dtype);
      const buffers = { gate: gate.buffer, up: up.buffer, y: out };
      runPointwise(rt, swiglu, { type: scalarOf(gate.dtype) }, buffers, elementCount(gate.shape));
      return out;
    },

    swigluGrad(dy, gate, up) {
      const dgate = allocate(rt, gate.shape, gate.dtype);
      const dup = allocate(rt, gate.shape, gate.dtype);
      const buffers = { dy: dy.buffer, gate: gate.buffer, up: up.buffer, dgate, dup };
      runPointwise(rt, swigluGrad, { type: scalarOf(gate.dtype) }, buffers, elementCount(gate.shape));
      return { dgate, dup };
    },
  };
}
