import { ELEMENTWISE_THREADS, index, type Typed } from './elementwise.ts';
import { kernel, type NoVariant, read, write } from './kernel.ts';

/** Rows of weight [V, C] at ids. Grid over the elements of the result. */
export const embedding = kernel({
  name: 'embedding',
  params: { elements: 'u32', width: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { weight: read(type), ids: read('i32'), y: write(type) },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('elements')}
      y[i] = weight[u32(ids[i / params.width]) * params.width + i % params.width];`,
  }),
});

/**
 * Links equal ids: next[t] is the following place of the same id (or `count`), first[t] whether none precedes. Makes a
 * sum by id in the order of the ids possible without atomics.
 */
export const linkIds = kernel({
  name: 'linkIds',
  params: { count: 'u32' },
  text: (_: NoVariant) => ({
    buffers: { ids: read('i32'), links: write('vec2<u32>') },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('count')}
      let id = ids[i];
      var next = i + 1u;
      while (next < params.count && ids[next] != id) { next++; }
      var before = i;
      while (before > 0u && ids[before - 1u] != id) { before--; }
      links[i] = vec2<u32>(next, select(0u, 1u, before == 0u));`,
  }),
});

/** dweight[ids[t]] = sum of the rows of dy with that id, by the workgroups of first places. Grid: x = places. */
export const embeddingGrad = kernel({
  name: 'embeddingGrad',
  params: { count: 'u32', width: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { dy: read(type), ids: read('i32'), links: read('vec2<u32>'), dweight: write(type) },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      let place = group.y * groups.x + group.x;
      if (place >= params.count) { return; }
      if (links[place].y == 0u) { return; }
      let base = u32(ids[place]) * params.width;
      for (var j = lane; j < params.width; j += ${ELEMENTWISE_THREADS}u) {
        var sum = 0.0;
        for (var t = place; t < params.count; t = links[t].x) { sum += f32(dy[t * params.width + j]); }
        dweight[base + j] = ${type}(sum);
      }`,
  }),
});
