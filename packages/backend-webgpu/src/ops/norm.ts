import type { Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { ELEMENTWISE_THREADS } from '../wgsl/elementwise.ts';
import { rmsNorm, rmsNormGradInput, rmsNormGradWeight } from '../wgsl/norm.ts';
import { splitSum } from '../wgsl/sums.ts';
import { allocate, elementGrid, linearGrid, MAX_GROUPS, scalarOf, withScratch } from './shared.ts';

/** Rows that one invocation sums for the gradient of a norm's weight, before the partial sums are added. */
const ROWS_PER_GROUP = 32;

/** RMSNorm by rows; the weight's gradient is summed in two stages. */
export function normKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'rmsNorm' | 'rmsNormGrad'> {
  return {
    rmsNorm(x, weight, epsilon) {
      const [rows, width] = x.shape;
      const out = allocate(rt, x.shape, x.dtype);
      rt.run(
        rmsNorm,
        { type: scalarOf(x.dtype) },
        {
          buffers: { x: x.buffer, weight: weight.buffer, y: out },
          params: { rows, width, epsilon },
          grid: linearGrid(rows),
        },
      );
      return out;
    },

    rmsNormGrad(dy, x, weight, epsilon) {
      const [rows, width] = x.shape;
      const variant = { type: scalarOf(x.dtype) };
      const dx = allocate(rt, x.shape, x.dtype);
      const dweight = allocate(rt, weight.shape, weight.dtype);
      const rowsPerGroup = Math.max(ROWS_PER_GROUP, Math.ceil(rows / MAX_GROUPS));
      const groups = Math.ceil(rows / rowsPerGroup);
      withScratch(rt, [rows, groups * width], (factors, partial) => {
        rt.run(rmsNormGradInput, variant, {
          buffers: { dy: dy.buffer, x: x.buffer, weight: weight.buffer, dx, factors },
          params: { rows, width, epsilon },
          grid: linearGrid(rows),
        });
        rt.run(rmsNormGradWeight, variant, {
          buffers: { dy: dy.buffer, x: x.buffer, factors, partial },
          params: { rows, width, rowsPerGroup },
          grid: [Math.ceil(width / ELEMENTWISE_THREADS), groups],
        });
        rt.run(splitSum, variant, {
          buffers: { partial, result: dweight },
          params: { elements: width, size: width, splits: groups, accumulate: 0 },
          grid: elementGrid(width),
        });
      });
      return { dx, dweight };
    },
  };
}
