import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { fill } from '../wgsl/elementwise.ts';
import { embedding, embeddingGrad, linkIds } from '../wgsl/embedding.ts';
import { allocate, elementGrid, linearGrid, runPointwise, scalarOf, withScratch } from './shared.ts';

/** Rows of a table by ids, and their gradient in the order of the ids. */
export function embeddingKernels(rt: Runtime): Pick<Kernels<DeviceBuffer>, 'embedding' | 'embeddingGrad'> {
  return {
    embedding(weight, ids) {
      const width = weight.shape[1];
      const elements = elementCount(ids.shape) * width;
      const out = allocate(rt, [elements], weight.dtype);
      rt.run(
        embedding,
        { type: scalarOf(weight.dtype) },
        {
          buffers: { weight: weight.buffer, ids: ids.buffer, y: out },
          params: { elements, width },
          grid: elementGrid(elements),
        },
      );
      return out;
    },

    embeddingGrad(dy, ids, vocabulary) {
      const variant = { type: scalarOf(dy.dtype) };
      const count = elementCount(ids.shape);
      const width = elementCount(dy.shape) / count;
      const dweight = allocate(rt, [vocabulary, width], dy.dtype);
      runPointwise(rt, fill, variant, { y: dweight }, vocabulary * width, { bits: 0 });
      withScratch(rt, [2 * count], (links) => {
        rt.run(linkIds, {}, { buffers: { ids: ids.buffer, links }, params: { count }, grid: elementGrid(count) });
        rt.run(embeddingGrad, variant, {
          buffers: { dy: dy.buffer, ids: ids.buffer, links, dweight },
          params: { count, width },
          grid: linearGrid(count),
        });
      });
      return dweight;
    },
  };
}
