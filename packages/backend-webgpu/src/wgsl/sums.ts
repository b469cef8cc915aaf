import { ELEMENTWISE_THREADS, index, type Typed, vectorOf } from './elementwise.ts';
import { kernel, type NoVariant, read, type Scalar, write } from './kernel.ts';

/** Invocations of a workgroup that sums much. */
export const SUM_THREADS = 256;

/**
 * Sum of x or x^2 over an even share of the elements per workgroup, into partial[slot + workgroup]. Grid: x =
 * workgroups.
 */
export const partialSum = kernel({
  name: 'partialSum',
  params: { elements: 'u32', slot: 'u32' },
  text: ({ type, squares }: { readonly type: Scalar; readonly squares: boolean }) => ({
    buffers: { x: read(vectorOf(type)), partial: write('f32') },
    workgroupSize: SUM_THREADS,
    reductions: ['total'],
    body: `
      var sum = vec4<f32>();
      let vectors = (params.elements + 3u) / 4u;
      for (var i = group.x * ${SUM_THREADS}u + lane; i < vectors; i += groups.x * ${SUM_THREADS}u) {
        let place = 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
        let value = select(vec4<f32>(), vec4<f32>(x[i]), place < vec4<u32>(params.elements));
        sum += ${squares ? 'value * value' : 'value'};
      }
      let result = total(dot(sum, vec4<f32>(1.0)), lane);
      if (lane == 0u) { partial[params.slot + group.x] = result; }`,
  }),
});

/** result[0] = factor * sum of partial[0..count). One workgroup. */
export const finalSum = kernel({
  name: 'finalSum',
  params: { count: 'u32', factor: 'f32' },
  text: (_: NoVariant) => ({
    buffers: { partial: read('f32'), result: write('f32') },
    workgroupSize: SUM_THREADS,
    reductions: ['total'],
    body: `
      var sum = 0.0;
      for (var i = lane; i < params.count; i += ${SUM_THREADS}u) { sum += partial[i]; }
      let all = total(sum, lane);
      if (lane == 0u) { result[0] = params.factor * all; }`,
  }),
});

/** result[h] = sum over b and r of terms[b, h, r, first], of which `step` stand side by side. One workgroup per h. */
export const headSum = kernel({
  name: 'headSum',
  params: { first: 'u32', step: 'u32', batch: 'u32', heads: 'u32', length: 'u32' },
  text: (_: NoVariant) => ({
    buffers: { terms: read('f32'), result: write('f32') },
    workgroupSize: SUM_THREADS,
    reductions: ['total'],
    body: `
      var sum = 0.0;
      for (var b = 0u; b < params.batch; b++) {
        for (var r = lane; r < params.length; r += ${SUM_THREADS}u) {
          sum += terms[params.first + params.step * ((b * params.heads + group.x) * params.length + r)];
        }
      }
      let all = total(sum, lane);
      if (lane == 0u) { result[group.x] = all; }`,
  }),
});

/**
 * result[z, i] = sum over s of partial[z, s, i] (f32), in order; with `accumulate`, result[z, i] is added. Grid over the
 * elements of the result.
 */
export const splitSum = kernel({
  name: 'splitSum',
  params: { elements: 'u32', size: 'u32', splits: 'u32', accumulate: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { partial: read('f32'), result: write(type) },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('elements')}
      let z = i / params.size;
      let first = z * params.splits * params.size + i % params.size;
      var sum = 0.0;
      if (params.accumulate != 0u) { sum = f32(result[i]); }
      for (var s = 0u; s < params.splits; s++) { sum += partial[first + s * params.size]; }
      result[i] = ${type}(sum);`,
  }),
});
