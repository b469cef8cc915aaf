import { ELEMENTWISE_THREADS, index, type Typed } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';

/**
 * spec §RoPE. The cosine and sine of a position are put together from two tables, for its low 8 bits and for the
 * rest, both computed in double: angles are exact to f32 however large the position. Grid over pairs.
 */
export const rope = kernel({
  name: 'rope',
  params: {
    pairs: 'u32',
    half: 'u32',
    heads: 'u32',
    length: 'u32',
    offset: 'u32',
    firstHigh: 'u32',
    sign: 'f32',
  },
  text: ({ type }: Typed) => ({
    buffers: { x: read(type), low: read('vec2<f32>'), high: read('vec2<f32>'), y: write(type) },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('pairs')}
      let d = i % params.half;
      let row = i / params.half;
      let position = params.offset + (row / params.heads) % params.length;
      let a = low[(position & 255u) * params.half + d];
      let b = high[((position >> 8u) - params.firstHigh) * params.half + d];
      let cosine = a.x * b.x - a.y * b.y;
      let sine = params.sign * (a.y * b.x + a.x * b.y);
      let at = row * 2u * params.half + d;
      let first = f32(x[at]);
      let second = f32(x[at + params.half]);
      y[at] = ${type}(first * cosine - second * sine);
      y[at + params.half] = ${type}(second * cosine + first * sine);`,
  }),
});
