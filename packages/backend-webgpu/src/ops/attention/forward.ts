import type { AttentionInputs, Kernels, SavedState } from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';
import { stripSoftmax } from '../../wgsl/attention-rows.ts';
import { allocate, withScratch } from '../shared.ts';
import { decode } from './decode.ts';
import { type Strips, withStrips } from './strips.ts';

/** Maximum of s and 1 / sum exp(s - maximum) of each row, [B, H, L, 2]. */
export interface SavedAttention extends SavedState {
  readonly stats: DeviceBuffer;
}

/** spec §Forward, block by block: scores, rows, product with v. */
function forward(
  rt: Runtime,
  { scale, q, k, v }: AttentionInputs<DeviceBuffer>,
  strips: Strips,
  output: DeviceBuffer,
  stats: DeviceBuffer,
): void {
  const { bias, perHead, starts } = strips.optional;
  withScratch(rt, [strips.largest], (strip) => {
    for (const block of strips.blocks) {
      strips.scores(block, scale, q.buffer, k.buffer, strip);
      rt.run(
        stripSoftmax,
        {},
        {
          buffers: { strip, stats, ...bias, ...perHead, ...starts },
          params: strips.params(block),
          grid: [block.rowCount, block.headCount],
        },
      );
      strips.rows(block, 1, strip, v.buffer, output);
    }
  });
}

/** A single query without gradient takes the path of decode.ts. */
export function forwardKernels(
  rt: Runtime,
  stripBytes: number,
): Pick<Kernels<DeviceBuffer, SavedAttention>, 'attention' | 'freeSaved'> {
  return {
    attention(inputs, save) {
      const { sizes, q } = inputs;
      const output = allocate(rt, q.shape, q.dtype);
      if (!save && sizes.queryLength === 1) {
        decode(rt, inputs, output);
        return { output, saved: null };
      }
      const stats = rt.acquire(sizes.batch * sizes.heads * sizes.queryLength * 8);
      withStrips(rt, inputs, stripBytes, (strips) => forward(rt, inputs, strips, output, stats));
      if (save) return { output, saved: { bytes: stats.size, stats } };
      rt.release(stats);
      return { output, saved: null };
    },

    freeSaved(saved) {
      rt.release(saved.stats);
    },
  };
}
