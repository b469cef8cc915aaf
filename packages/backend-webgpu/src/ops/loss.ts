import type { Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { crossEntropyGrad, crossEntropyRows } from '../wgsl/loss.ts';
import { finalSum } from '../wgsl/sums.ts';
import { allocate, linearGrid, scalarOf, withScratch } from './shared.ts';

/** Cross entropy by rows, and its gradient from the kept lse. */
export function lossKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'crossEntropy' | 'crossEntropyGrad'> {
  return {
    crossEntropy(logits, targets, { ignoreIndex, count }) {
      const [rows, width] = logits.shape;
      const lse = rt.acquire(rows * 4);
      const loss = rt.acquire(4);
      withScratch(rt, [rows], (losses) => {
        rt.run(
          crossEntropyRows,
          { type: scalarOf(logits.dtype) },
          {
            buffers: { logits: logits.buffer, targets: targets.buffer, lse, losses },
            params: { rows, width, ignoreIndex },
            grid: linearGrid(rows),
          },
        );
        rt.run(
          finalSum,
          {},
          { buffers: { partial: losses, result: loss }, params: { count: rows, factor: 1 / count }, grid: [1] },
        );
      });
      return { loss, lse };
    },

    crossEntropyGrad(dLoss, logits, targets, lse, { ignoreIndex, count }) {
      const [rows, width] = logits.shape;
      const dlogits = allocate(rt, logits.shape, logits.dtype);
      rt.run(
        crossEntropyGrad,
        { type: scalarOf(logits.dtype) },
        {
          buffers: {
            dLoss: dLoss.buffer,
            logits: logits.buffer,
            targets: targets.buffer,
            lse: lse.buffer,
            dlogits,
          },
          params: { rows, width, ignoreIndex, inverseCount: 1 / count },
          grid: linearGrid(rows),
        },
      );
      return dlogits;
    },
  };
}
