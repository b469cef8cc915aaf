import { ELEMENTWISE_THREADS, index } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';

/** Bits that are moved and never computed with, so NaNs and subnormals survive. */
export type Unit = 'u32' | 'vec4<u32>' | 'f16' | 'vec2<u32>';

/** Moves rows of the [outer, length, inner] view (units of `Unit`): out of it, or into it. Grid over outer * count * inner. */
export const moveRows = kernel({
  name: 'moveRows',
  params: { units: 'u32', viewLength: 'u32', inner: 'u32', start: 'u32', count: 'u32' },
  text: ({ unit, direction }: { readonly unit: Unit; readonly direction: 'slice' | 'insert' }) => {
    const compact = 'o * params.count * params.inner + rest';
    const wide = '(o * params.viewLength + params.start) * params.inner + rest';
    return {
      buffers: { x: read(unit), y: write(unit) },
      workgroupSize: ELEMENTWISE_THREADS,
      body: `
        ${index('units')}
        let o = i / (params.count * params.inner);
        let rest = i % (params.count * params.inner);
        ${direction === 'slice' ? `y[${compact}] = x[${wide}];` : `y[${wide}] = x[${compact}];`}`,
    };
  },
});
